"""Tables of a replay memory as tensors."""

from collections.abc import Collection

import numpy as np
import torch

from tensor_optix.adapters._device_memory import SPARE_BYTES, Shapes, held
from tensor_optix.core.normalizers import Scaling


class TorchDeviceMemory:
    """See `DeviceMemory`.

    Args:
        device: where the tables are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tables: dict[str, torch.Tensor] = {}

    def reserve(self, shapes: Shapes) -> bool:
        """See `DeviceMemory.reserve`."""
        try:
            made = {name: self._zeros(shape, held(dtype)) for name, (shape, dtype) in shapes.items()}
            torch.empty(SPARE_BYTES, dtype=torch.uint8, device=self._device)
        except torch.cuda.OutOfMemoryError:
            return False
        self._tables |= made
        return True

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=self._device)

    def write(self, name: str, start: int, rows: np.ndarray) -> None:
        """See `DeviceMemory.write`."""
        self._tables[name][start : start + len(rows)] = self._sent(rows)

    def take(self, names: Collection[str], rows: np.ndarray) -> dict[str, torch.Tensor]:
        """See `DeviceMemory.take`."""
        index = self._sent(rows)
        return {name: self._tables[name][index] for name in names}

    def replace(self, taken: torch.Tensor, positions: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """See `DeviceMemory.replace`."""
        taken.view(-1, *taken.shape[2:])[self._sent(positions)] = self._sent(rows)
        return taken

    def scale(self, taken: torch.Tensor, scaling: Scaling) -> torch.Tensor:
        """See `DeviceMemory.scale`; in float64, as numpy does."""
        scaled = (taken.double() - self._sent(scaling.mean)) / self._sent(scaling.std)
        return scaled.clamp(-scaling.clip, scaling.clip).float()

    def _sent(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, held(array.dtype))).to(self._device)
