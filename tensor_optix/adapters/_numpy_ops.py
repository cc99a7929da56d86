"""The operations in numpy: what acting computes with, and the reference that both frameworks are tested against."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from tensor_optix.adapters.backend import Ops

_T = TypeVar("_T")


class _NumpyOps:
    exp = staticmethod(np.exp)
    sqrt = staticmethod(np.sqrt)
    square = staticmethod(np.square)
    minimum = staticmethod(np.minimum)
    clip = staticmethod(np.clip)
    where = staticmethod(np.where)
    mean = staticmethod(np.mean)
    tanh = staticmethod(np.tanh)

    @staticmethod
    def sum(x: np.ndarray) -> np.ndarray:
        return np.sum(x, axis=-1)

    @staticmethod
    def log_softmax(x: np.ndarray) -> np.ndarray:
        shifted = x - x.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    @staticmethod
    def gather(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return np.take_along_axis(x, np.asarray(indices, np.int64)[..., None], axis=-1)[..., 0]

    @staticmethod
    def max(x: np.ndarray) -> np.ndarray:
        return np.max(x, axis=-1)

    @staticmethod
    def argmax(x: np.ndarray) -> np.ndarray:
        return np.argmax(x, axis=-1)

    @staticmethod
    def softplus(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(x, 0.0)

    @staticmethod
    def concat(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts, axis=-1)

    @staticmethod
    def no_gradient(fn: Callable[[], _T]) -> _T:
        return fn()


NUMPY_OPS: Ops = _NumpyOps()
