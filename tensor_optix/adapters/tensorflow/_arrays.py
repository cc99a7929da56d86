"""Arrays of windows and minibatches as tensors."""

import numpy as np

from tensor_optix.adapters.backend import ACTIONS, Tensor, is_mask
from tensor_optix.adapters.tensorflow._keras import tf


def as_tensor(name: str, array: Tensor, dtype: tf.DType) -> Tensor:
    """Return an array, or a tensor, as a tensor.

    Discrete actions become indices, masks stay masks, everything else becomes what losses are computed in; bytes and
    flags only one minibatch at a time.

    Args:
        name: of the array.
        array: numpy's, or on the device already.
        dtype: what losses are computed in.
    """
    if not isinstance(array, np.ndarray):
        return _as_number(name, array, dtype)
    if name == ACTIONS and not np.issubdtype(array.dtype, np.floating):
        return tf.constant(array, tf.int32)
    if is_mask(name) or array.dtype in (np.uint8, np.bool_):
        return tf.constant(array)
    return tf.constant(array, dtype)


def _as_number(name: str, tensor: Tensor, dtype: tf.DType) -> Tensor:
    if name == ACTIONS and tensor.dtype.is_integer:
        return tf.cast(tensor, tf.int64)  # an argument of int32 goes back to the host
    return tensor if is_mask(name) or tensor.dtype in (tf.uint8, tf.bool) else tf.cast(tensor, dtype)
