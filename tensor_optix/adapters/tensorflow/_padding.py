"""Shapes that grow in few steps, as each is compiled for itself."""

import numpy as np


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least `n`."""
    return 1 << (n - 1).bit_length()


def padded(array: np.ndarray, length: int) -> np.ndarray:
    """Return an array with zeros after it, up to `length` rows."""
    if len(array) == length:
        return array
    padding = np.zeros((length - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, padding])
