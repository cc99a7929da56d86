"""Tables of a replay memory as variables."""

from collections.abc import Collection

import numpy as np

from tensor_optix.adapters._device_memory import SPARE_BYTES, Shapes, held
from tensor_optix.adapters._ops import Tensor
from tensor_optix.adapters.tensorflow._keras import tf
from tensor_optix.adapters.tensorflow._placement import on
from tensor_optix.core.normalizers import Scaling


class TFDeviceMemory:
    """See `DeviceMemory`.

    Rows are written by slices and gathered from the variables themselves: what else there is for that has no kernel
    for bytes on a GPU, or copies the whole table.

    Args:
        device: where the tables are, as TensorFlow names it; None = where TensorFlow puts them.
        spare_bytes: bytes of the device's memory that are left.
    """

    def __init__(self, device: str | None, spare_bytes: int = SPARE_BYTES) -> None:
        self._device, self._spare_bytes = device, spare_bytes
        self._tables: dict[str, Tensor] = {}

    def reserve(self, shapes: Shapes) -> bool:
        """See `DeviceMemory.reserve`."""
        try:
            with on(self._device):
                made = {
                    name: tf.Variable(tf.zeros(shape, held(dtype)), trainable=False)
                    for name, (shape, dtype) in shapes.items()
                }
                tf.zeros(self._spare_bytes, tf.uint8)
        except tf.errors.ResourceExhaustedError:
            return False
        self._tables |= made
        return True

    def write(self, name: str, start: int, rows: np.ndarray) -> None:
        """See `DeviceMemory.write`."""
        with on(self._device):
            self._tables[name][start : start + len(rows)].assign(_sent(rows))

    def take(self, names: Collection[str], rows: np.ndarray) -> dict[str, Tensor]:
        """See `DeviceMemory.take`."""
        with on(self._device):
            index = _sent(rows)
            return {name: tf.gather(self._tables[name], index) for name in names}

    def replace(self, taken: Tensor, positions: np.ndarray, rows: np.ndarray) -> Tensor:
        """See `DeviceMemory.replace`."""
        with on(self._device):
            flat = tf.Variable(tf.reshape(taken, (-1, *taken.shape[2:])), trainable=False)
            flat.scatter_update(tf.IndexedSlices(_sent(rows), _sent(positions)))
            return tf.reshape(flat, taken.shape)

    def scale(self, taken: Tensor, scaling: Scaling) -> Tensor:
        """See `DeviceMemory.scale`; in float64, as numpy does."""
        with on(self._device):
            scaled = (tf.cast(taken, tf.float64) - _sent(scaling.mean)) / _sent(scaling.std)
            return tf.cast(tf.clip_by_value(scaled, -scaling.clip, scaling.clip), tf.float32)


def _sent(array: np.ndarray) -> Tensor:
    return tf.constant(np.asarray(array, held(array.dtype)))
