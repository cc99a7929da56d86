"""What PyTorch's kernels compute faster than numpy, on tensors in the memory of numpy's arrays.

MKL multiplies by transposed weights up to a quarter faster than OpenBLAS, and adds the bias in the same call. In the
products of the backward pass numpy is as fast, or faster. Small arrays stay with numpy, which takes fewer microseconds
to begin. What is called depends on shapes and on the number of threads only, so that a seed repeats a run exactly.
"""

from functools import partial

import numpy as np
import torch

from tensor_optix.adapters import _dense
from tensor_optix.adapters.pytorch._recording import bare, made

_FEWEST_MULTIPLICATIONS = 1 << 20
_FEWEST_UNITS = 16
"""Of a layer: PyTorch begins later than numpy does, and makes narrow products slower."""
_FEWEST_ENTRIES = 1 << 14
"""Of an array to which a function is applied."""


def affine(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *, is_threaded: bool) -> np.ndarray:
    """Return x·Wᵀ + b in a new array (B, out); of several threads, which are numpy's, in those."""
    array = _array(x)
    if is_threaded or bias is None or not _is_large(array, weight) or not _is_shareable(array):
        y = x @ weight.T
        if bias is not None:
            y += bias
        return y
    y = np.empty((len(array), len(weight)), np.float32)
    factors = map(torch.from_numpy, (bias, array, weight.T))
    return made(y, partial(torch.addmm, *factors, out=torch.from_numpy(y)), x)


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0), in place."""
    array = _array(x)
    if array.size < _FEWEST_ENTRIES or not _is_shareable(array):
        return _dense.relu(x)
    return made(array, partial(torch.relu_, torch.from_numpy(array)), x)


def _array(x: object) -> np.ndarray:
    return bare(x)  # type: ignore[return-value]


def _is_large(x: np.ndarray, weight: np.ndarray) -> bool:
    return len(weight) >= _FEWEST_UNITS and len(x) * weight.size >= _FEWEST_MULTIPLICATIONS


def _is_shareable(array: np.ndarray) -> bool:
    """Return whether tensors can have the memory of an array: what was broadcast has none that may be written."""
    return array.dtype == np.float32 and array.flags.writeable
