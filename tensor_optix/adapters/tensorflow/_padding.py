"""Shapes that grow in few steps, as each is compiled for itself."""

import numpy as np

from tensor_optix.adapters.backend import Tensor
from tensor_optix.adapters.tensorflow._keras import tf


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least `n`."""
    return 1 << (n - 1).bit_length()


def padded(array: Tensor, length: int) -> Tensor:
    """Return an array of numpy's or a tensor with zeros after it, up to `length` rows."""
    if len(array) == length:
        return array
    shape = (length - len(array), *array.shape[1:])
    if isinstance(array, np.ndarray):
        return np.concatenate([array, np.zeros(shape, array.dtype)])
    return tf.concat([array, tf.zeros(shape, array.dtype)], 0)
