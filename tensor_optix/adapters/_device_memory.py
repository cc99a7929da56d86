"""Tables of numbers on the device where they are learned from, for a replay memory."""

from collections.abc import Collection, Mapping
from typing import Protocol, TypeAlias

import numpy as np

from tensor_optix.adapters._ops import Tensor
from tensor_optix.core.normalizers import Scaling

Shapes: TypeAlias = Mapping[str, tuple[tuple[int, ...], np.dtype[np.generic]]]
"""The shape of each table, rows first, and the type of what is written to it."""

SPARE_BYTES = 256 << 20
"""Of the device's memory this much is left, at the least, for the updates themselves."""


class DeviceMemory(Protocol):
    """Tables whose rows are written from the host, and gathered on the device."""

    def reserve(self, shapes: Shapes) -> bool:
        """Reserve tables, or none: False where the device has no room for them."""
        ...

    def write(self, name: str, start: int, rows: np.ndarray) -> None:
        """Copy rows (n, ...) to a table, from row `start` on."""
        ...

    def take(self, names: Collection[str], rows: np.ndarray) -> dict[str, Tensor]:
        """Return rows (...) of tables by their numbers; only the numbers are copied to the device."""
        ...

    def replace(self, taken: Tensor, positions: np.ndarray, rows: np.ndarray) -> Tensor:
        """Return what was taken with other rows in places.

        Args:
            taken: (K, B, ...); it is used up.
            positions: (p,) which of the K·B, each once.
            rows: (p, ...) from the host.
        """
        ...

    def scale(self, taken: Tensor, scaling: Scaling) -> Tensor:
        """Return what was taken as a normaliser scales it."""
        ...


def held(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the type in which a device holds numbers: integers but bytes as int64, which both frameworks gather."""
    return np.dtype(np.int64) if dtype.kind in "iu" and dtype != np.uint8 else dtype
