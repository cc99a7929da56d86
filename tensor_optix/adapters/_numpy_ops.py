"""The operations in numpy: what acting computes with, and the reference that both frameworks are tested against."""

from typing import Any

import numpy as np

from tensor_optix.adapters.backend import Ops


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
    def sum(x: Any) -> Any:
        return np.sum(x, axis=-1)

    @staticmethod
    def log_softmax(x: Any) -> Any:
        shifted = x - x.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    @staticmethod
    def gather(x: Any, indices: Any) -> Any:
        return np.take_along_axis(x, np.asarray(indices, np.int64)[..., None], axis=-1)[..., 0]

    @staticmethod
    def max(x: Any) -> Any:
        return np.max(x, axis=-1)

    @staticmethod
    def argmax(x: Any) -> Any:
        return np.argmax(x, axis=-1)

    @staticmethod
    def softplus(x: Any) -> Any:
        return np.logaddexp(x, 0.0)

    @staticmethod
    def concat(parts: Any) -> Any:
        return np.concatenate(parts, axis=-1)

    @staticmethod
    def no_gradient(fn: Any) -> Any:
        return fn()


NUMPY_OPS: Ops = _NumpyOps()
