"""Calls of numpy that are noted when they are made, and made again on what their arrays hold by then.

Each minibatch of a window is computed by the same calls. Finding out which ones (functions of the loss, closures of the
tape, new arrays) takes a small network longer than the calls do. So they are recorded on one minibatch, and replayed on
the others in the same memory, which changes no bit of what they compute. A `Recorded` stands in for an array. What is
computed from one is recorded, anything else is a constant. A function that it does not know raises `TypeError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import EllipsisType
from typing import TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

BarePart: TypeAlias = "int | slice | EllipsisType | np.ndarray | None"
Part: TypeAlias = "BarePart | Recorded"


class Recording:
    """Calls of numpy, in their order, each with the memory that it reads and writes."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []

    def make(self, call: Callable[[], object]) -> None:
        """Make a call, and note it."""
        call()
        self._calls.append(call)

    def note(self, call: Callable[[], object]) -> None:
        """Note a call that has been made."""
        self._calls.append(call)

    def replay(self) -> None:
        """Make all calls again."""
        for call in self._calls:
            call()


class Recorded(NDArrayOperatorsMixin):
    """An array whose values another minibatch changes.

    Args:
        array: its memory.
        recording: notes what is computed from it.
    """

    __slots__ = ("array", "recording")

    def __init__(self, array: np.ndarray, recording: Recording) -> None:
        self.array, self.recording = array, recording

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        """Refuse to be taken for a constant."""
        raise TypeError("a recorded array is not converted: its values are those of one minibatch")

    def __bool__(self) -> bool:
        raise TypeError("what is computed must not depend on the values of a recorded array")

    def __len__(self) -> int:
        return len(self.array)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, out: tuple[object] | None = None, **named: object
    ) -> object:
        """Compute an element-wise function, a reduction or a product; see the protocol of that name."""
        arguments, call = [bare(each) for each in inputs], getattr(ufunc, method)
        if method == "at":
            return self.recording.make(partial(call, *arguments))
        if method == "__call__":  # a plain number is made an array once, not in each replay
            call, dtype = ufunc, np.result_type(*arguments)  # pyright: ignore[reportArgumentType]
            arguments = [np.array(x, dtype) if type(x) is float or type(x) is int else x for x in arguments]
        if out is not None:
            self.recording.make(_into(bare(out[0]), call, arguments, named))
            return out[0]
        result = np.asarray(call(*arguments, **named))
        self.recording.note(_into(result, call, arguments, named))
        return Recorded(result, self.recording)

    def __array_function__(
        self, function: object, _types: object, arguments: Sequence[object], named: Mapping[str, object]
    ) -> object:
        """Compute another function of numpy; see the protocol of that name."""
        known = _FUNCTIONS.get(function)
        return NotImplemented if known is None else known(self.recording, *arguments, **named)

    def __getitem__(self, key: Part | tuple[Part, ...]) -> Recorded:
        """Return a part, or entries that arrays choose."""
        array, chosen = self.array, _bare_key(key)
        part = np.asarray(array[chosen])
        if not np.may_share_memory(part, array):
            self.recording.note(lambda: part.__setitem__(..., array[chosen]))
        return Recorded(part, self.recording)

    def __setitem__(self, key: Part | tuple[Part, ...], value: object) -> None:
        array, chosen, source = self.array, _bare_key(key), bare(value)
        self.recording.make(lambda: array.__setitem__(chosen, source))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Number of its axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """Number of its entries."""
        return self.array.size

    @property
    def dtype(self) -> np.dtype:
        """Type of its entries."""
        return self.array.dtype

    @property
    def T(self) -> Recorded:  # noqa: N802 - as arrays have it
        """The same memory, transposed."""
        return Recorded(self.array.T, self.recording)

    def reshape(self, shape: tuple[int, ...]) -> Recorded:
        """Return the same entries in another shape."""
        array = self.array.reshape(shape)
        if not np.may_share_memory(array, self.array):
            self.recording.note(lambda: array.__setitem__(..., self.array.reshape(shape)))
        return Recorded(array, self.recording)

    def copy(self) -> Recorded:
        """Return a copy in the order of C."""
        array = self.array.copy()
        self.recording.note(partial(np.copyto, array, self.array))
        return Recorded(array, self.recording)


def bare(x: object) -> object:
    """Return the array of a recorded one, anything else as it is."""
    return x.array if type(x) is Recorded else x


def beside(array: np.ndarray, x: object) -> np.ndarray | Recorded:
    """Return an array that changes from step to step so that it is recorded where x is."""
    return Recorded(array, x.recording) if type(x) is Recorded else array


def made(out: np.ndarray, call: Callable[[], object], *sources: object) -> np.ndarray:
    """Make a call of another library that writes to `out`, and return that: recorded where one of `sources` is."""
    for source in sources:
        if type(source) is Recorded:
            source.recording.make(call)
            return Recorded(out, source.recording)  # type: ignore[return-value]
    call()
    return out


def _into(
    out: object, call: Callable[..., object], arguments: Sequence[object], named: Mapping[str, object]
) -> Callable[[], object]:
    """Return the call that writes its result to `out`.

    A product of two matrices is that of `np.dot`: the same call of BLAS, which numpy begins sooner.
    """
    if call is np.matmul and isinstance(out, np.ndarray) and out.flags.c_contiguous:
        factors = [x for x in arguments if isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype == out.dtype]
        if len(factors) == 2:
            return partial(np.dot, *factors, out)
    return partial(call, *arguments, out=out, **named)


def _bare_key(key: Part | tuple[Part, ...]) -> tuple[BarePart, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple(part.array if isinstance(part, Recorded) else part for part in parts)


def _copyto(recording: Recording, target: object, source: object, **named: object) -> None:
    recording.make(partial(np.copyto, bare(target), bare(source), **named))  # type: ignore[arg-type]


def _where(recording: Recording, condition: object, x: object, y: object) -> Recorded:
    chosen, left, right = bare(condition), bare(x), bare(y)
    result = np.asarray(np.where(chosen, left, right))  # type: ignore[arg-type]
    recording.note(lambda: result.__setitem__(..., np.where(chosen, left, right)))  # type: ignore[arg-type]
    return Recorded(result, recording)


def _concatenate(recording: Recording, parts: Sequence[object], axis: int) -> Recorded:
    arrays: list[np.ndarray] = [bare(part) for part in parts]  # type: ignore[misc]
    result = np.concatenate(arrays, axis)
    recording.note(partial(np.concatenate, arrays, axis, result))
    return Recorded(result, recording)


def _argmax(recording: Recording, x: Recorded, axis: int) -> Recorded:
    result = np.asarray(np.argmax(x.array, axis))
    recording.note(partial(np.argmax, x.array, axis, result))
    return Recorded(result, recording)


def _take(recording: Recording, x: Recorded, places: Recorded, axis: int) -> Recorded:
    result = np.take(x.array, places.array, axis)
    # In the usual mode, numpy would take into an array of its own first.
    recording.note(partial(np.take, x.array, places.array, axis, result, "clip"))
    return Recorded(result, recording)


def _broadcast_to(recording: Recording, x: Recorded, shape: tuple[int, ...]) -> Recorded:
    return Recorded(np.broadcast_to(x.array, shape), recording)


def _full_like(recording: Recording, x: object, value: object) -> Recorded:
    result = np.empty_like(bare(x))
    recording.make(partial(np.copyto, result, bare(value)))  # type: ignore[arg-type]
    return Recorded(result, recording)


_FUNCTIONS: Mapping[object, Callable[..., object]] = {
    np.copyto: _copyto,
    np.where: _where,
    np.concatenate: _concatenate,
    np.argmax: _argmax,
    np.take: _take,
    np.broadcast_to: _broadcast_to,
    np.full_like: _full_like,
    np.zeros_like: partial(_full_like, value=0),
    np.ones_like: partial(_full_like, value=1),
}
