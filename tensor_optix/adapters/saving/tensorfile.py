"""Named arrays in a safetensors file, with a few JSON values beside them. Nothing that is read can run code.

The header is read and checked here, before anything is allocated: eight bytes that hold its length, and JSON with the
type, shape and place of each array. The arrays must fill the rest of the file exactly.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
import safetensors.numpy

from tensor_optix.core.storage.locating import not_weights
from tensor_optix.core.storage.reading import opened, read_exactly
from tensor_optix.errors import CheckpointCorruptError, CheckpointError, NonFiniteError
from tensor_optix.support.memory import free_memory
from tensor_optix.support.schemas import checked, decode_object

SUFFIX = ".safetensors"
MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 65_536
_META = "tensor_optix"
_LENGTH_BYTES = 8
_MOST_ELEMENTS = 2**48
_ALWAYS_FREE = 64 << 20
"""Bytes that are not worth asking the system about."""

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: Annotated[list[_Size], msgspec.Meta(max_length=32)]
    data_offsets: tuple[_Size, _Size]


@dataclass(frozen=True)
class TensorSpec:
    """What an array is before it is read: its kind and size."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @classmethod
    def of(cls, array: Any) -> "TensorSpec":
        """Return what `array` is."""
        return cls(array.dtype, tuple(array.shape))


Choice: TypeAlias = Callable[[Mapping[str, TensorSpec], Mapping[str, object]], Iterable[str]]
"""Looks at what a file holds and at the values beside it, and returns the names to read; raises what is wrong."""


def save_tensors(
    path: str, tensors: Mapping[str, np.ndarray], meta: Mapping[str, object], constants: Collection[str] = ()
) -> None:
    """Write `<path>.safetensors`; the arrays named in `constants` need not be finite.

    Raises:
        NonFiniteError: an array holds a NaN or an infinity; nothing is written.
        CheckpointError: there are more arrays than `load_tensors` would read; nothing is written.
    """
    refuse_non_finite(tensors, constants)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    data = safetensors.numpy.save(arrays, metadata={_META: json.dumps(dict(meta), allow_nan=False)})
    header = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if header > MAX_HEADER_BYTES or len(arrays) > MAX_TENSORS:
        raise CheckpointError(
            f"{len(arrays)} arrays need a header of {header} bytes, but at most {MAX_TENSORS} and {MAX_HEADER_BYTES} "
            f"can be loaded again. Join small arrays into larger ones."
        )
    file = Path(os.fspath(path) + SUFFIX)
    # What has the name is replaced, never written through: it may be a link to another file.
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)


def load_tensors(
    path: str, choose: Choice | None = None, constants: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Read what `save_tensors(path)` wrote.

    Args:
        path: as it was saved to.
        choose: names the arrays to read (None: all), having seen the header and nothing more.
        constants: names of those that need not be finite.

    Raises:
        CheckpointPathError: there is no such file; the message says where there are weights.
        CheckpointCorruptError: it is not one of ours.
        CheckpointError: the arrays are larger than the free memory.
        NonFiniteError: an array holds a NaN or an infinity.
    """
    file = os.fspath(path) + SUFFIX
    if not os.path.lexists(file):
        raise not_weights(os.fspath(path))
    with opened(file) as (stream, size):
        try:
            layout, meta, start = _read_header(stream, size, file)
        except CheckpointCorruptError as error:
            raise CheckpointCorruptError(f"{file!r} is not a weights file of this library: {error}") from error
        specs = {name: spec for name, (spec, _) in layout.items()}
        names = list(specs if choose is None else choose(specs, meta))
        _check_memory(sum(specs[name].nbytes for name in names), file)
        tensors = {}
        for name in names:
            spec, offset = layout[name]
            stream.seek(start + offset)
            tensors[name] = _read_array(stream, spec, name, file)
    refuse_non_finite(tensors, constants)
    return tensors, meta


def refuse_non_finite(tensors: Mapping[str, np.ndarray], constants: Collection[str] = ()) -> None:
    """Raise `NonFiniteError` naming the first array that holds a NaN or an infinity and is none of `constants`."""
    for name, array in tensors.items():
        if name not in constants and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NonFiniteError(
                f"Tensor {name!r} holds {int((~np.isfinite(array)).sum())} values that are not finite; "
                f"such weights are neither saved nor loaded."
            )


def _read_header(
    stream: FileIO, size: int, file: str
) -> tuple[dict[str, tuple[TensorSpec, int]], dict[str, object], int]:
    """Return what each array is and where it begins, the JSON values, and where the arrays begin."""
    prefix = bytearray(_LENGTH_BYTES)
    read_exactly(stream, prefix, file)
    length = int.from_bytes(prefix, "little")
    if length > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
        raise CheckpointCorruptError(
            f"its header claims {length} bytes, but the file has {size}, and a header {MAX_HEADER_BYTES} at most."
        )
    raw = bytearray(length)
    read_exactly(stream, raw, file)
    header = decode_object(bytes(raw), "its header")
    own = checked(dict[str, str], header.pop("__metadata__", {}), "its header's __metadata__")
    if own.keys() != {_META}:
        raise CheckpointCorruptError(f"its header's __metadata__ has {sorted(own)}, not {[_META]}.")
    if len(header) > MAX_TENSORS:
        raise CheckpointCorruptError(f"it has {len(header)} arrays, more than {MAX_TENSORS}.")
    entries = checked(dict[str, _Entry], header, "its header")
    start = _LENGTH_BYTES + length
    return _layout(entries, size - start), decode_object(own[_META].encode(), "its values"), start


def _layout(entries: Mapping[str, _Entry], data_bytes: int) -> dict[str, tuple[TensorSpec, int]]:
    """Return what each array is and where it begins; together they fill the data without a gap or an overlap."""
    layout, end = {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype not in _DTYPES:
            raise CheckpointCorruptError(f"array {name!r} has the unknown type {entry.dtype!r}.")
        if math.prod(max(axis, 1) for axis in entry.shape) > _MOST_ELEMENTS:
            raise CheckpointCorruptError(f"array {name!r} has the impossible shape {entry.shape}.")
        spec = TensorSpec(_DTYPES[entry.dtype], tuple(entry.shape))
        if entry.data_offsets != (end, end + spec.nbytes):
            raise CheckpointCorruptError(
                f"array {name!r} of {spec.nbytes} bytes lies at {entry.data_offsets}, not from {end} on."
            )
        layout[name], end = (spec, end), end + spec.nbytes
    if end != data_bytes:
        raise CheckpointCorruptError(f"its arrays are {end} bytes, but the file holds {data_bytes}.")
    return layout


def _check_memory(needed: int, file: str) -> None:
    if needed <= _ALWAYS_FREE:
        return
    free = free_memory()
    if free is not None and needed > free:
        raise CheckpointError(
            f"{file!r} holds {needed / 2**30:.1f} GiB of arrays, but only {free / 2**30:.1f} GiB of memory are free."
        )


def _read_array(stream: FileIO, spec: TensorSpec, name: str, file: str) -> np.ndarray:
    array = np.empty(spec.shape, spec.dtype)
    if spec.nbytes:
        read_exactly(stream, array.reshape(-1).view(np.uint8).data, file)
    if spec.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
        raise CheckpointCorruptError(f"{file!r} is not a weights file of this library: {name!r} has no truth values.")
    return array
