"""What PyTorch's kernels compute faster than numpy, on tensors in the memory of numpy's arrays.

MKL multiplies by transposed weights up to a quarter faster than OpenBLAS, and adds the bias in the same call. In the
products of the backward pass numpy is as fast, or faster, on one thread: several threads are all PyTorch's, as two
libraries that each have some would take the cores from each other. Small arrays stay with numpy, which takes fewer
microseconds to begin. What is called depends on shapes and on the number of threads only, so that a seed repeats a run
exactly.
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


def affine(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Return x·Wᵀ + b in a new array (B, out)."""
    array = _array(x)
    if bias is None or not _is_large(array, weight.T) or not _is_shareable(array):
        y = x @ weight.T
        if bias is not None:
            y += bias
        return y
    y = np.empty((len(array), len(weight)), np.float32)
    factors = map(torch.from_numpy, (bias, array, weight.T))
    return made(y, partial(torch.addmm, *factors, out=torch.from_numpy(y)), x)


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return left·right, in `out` or in a new array."""
    first, second = _array(left), _array(right)
    is_numpys = torch.get_num_threads() == 1 or not _is_large(first, second)
    if is_numpys or not _is_shareable(first) or not _is_shareable(second):
        return np.matmul(left, right, out=out)
    y = np.empty((len(first), second.shape[1]), np.float32) if out is None else out
    factors = map(torch.from_numpy, (first, second))
    return made(y, partial(torch.mm, *factors, out=torch.from_numpy(y)), left, right)


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0), in place."""
    array = _array(x)
    if array.size < _FEWEST_ENTRIES or not _is_shareable(array):
        return _dense.relu(x)
    return made(array, partial(torch.relu_, torch.from_numpy(array)), x)


def _array(x: object) -> np.ndarray:
    return bare(x)  # type: ignore[return-value]


def _is_large(left: np.ndarray, right: np.ndarray) -> bool:
    return right.shape[1] >= _FEWEST_UNITS and len(left) * right.size >= _FEWEST_MULTIPLICATIONS


def _is_shareable(array: np.ndarray) -> bool:
    """Return whether tensors can have the memory of an array: what was broadcast has none that may be written."""
    return array.dtype == np.float32 and array.flags.writeable
