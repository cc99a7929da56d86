"""Named arrays in a safetensors file, with a few JSON values beside them. Nothing that is read can run code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tensor_optix.errors import CheckpointCorruptError, NonFiniteError

SUFFIX = ".safetensors"
_META = "tensor_optix"


def save_tensors(path: str, tensors: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write `<path>.safetensors`.

    Raises:
        NonFiniteError: an array holds a NaN or an infinity; nothing is written.
    """
    refuse_non_finite(tensors)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    data = safetensors.numpy.save(arrays, metadata={_META: json.dumps(dict(meta), allow_nan=False)})
    Path(path + SUFFIX).write_bytes(data)


def load_tensors(path: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_tensors(path)` wrote.

    Raises:
        CheckpointCorruptError: no such file, or not one of ours.
    """
    file = path + SUFFIX
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            meta = json.loads((opened.metadata() or {})[_META])
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointCorruptError(f"{file!r} is not a weights file of this library: {error}.") from error
    return tensors, meta


def refuse_non_finite(tensors: Mapping[str, np.ndarray]) -> None:
    """Raise `NonFiniteError` naming the first array that holds a NaN or an infinity."""
    for name, array in tensors.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise NonFiniteError(
                f"Tensor {name!r} holds {int((~np.isfinite(array)).sum())} values that are not finite; "
                f"such weights are neither saved nor loaded."
            )
