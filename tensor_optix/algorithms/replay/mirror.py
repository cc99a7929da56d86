"""The rings of a replay memory once more, on the device where minibatches are learned from."""

from collections.abc import Mapping, Sequence

import numpy as np

from tensor_optix.adapters._device_memory import DeviceMemory
from tensor_optix.adapters._ops import Tensor
from tensor_optix.algorithms.replay.drawn import Drawn, Patch
from tensor_optix.algorithms.replay.replay_buffer import ReplayBuffer
from tensor_optix.core.normalizers import Scaling


class Mirror:
    """Copies what a replay memory is given, and gathers minibatches from the copies.

    The memory draws, is saved and is restored; a mirror of another one, or of one that was restored, begins anew. Row
    c·N + n of a table is column c of environment n, so that a window is one piece of it, or two where the ring begins
    over.

    Args:
        tables: where the copies are.
    """

    def __init__(self, tables: DeviceMemory) -> None:
        self._tables = tables
        self._copied: dict[str, int] = {}
        """Steps of each environment that were copied, by ring."""
        self._n_envs = 0

    def follow(self, memory: ReplayBuffer) -> bool:
        """Copy the steps that were added since the last call; False where the device has no room for the rings."""
        new = {name: ring for name, ring in memory.rings.items() if name not in self._copied}
        shapes = {name: ((ring.shape[0] * ring.shape[1], *ring.shape[2:]), ring.dtype) for name, ring in new.items()}
        if new and not self._tables.reserve(shapes):
            return False
        for name, ring in memory.rings.items():
            self._n_envs = ring.shape[0]
            self._copy(name, ring, memory.written)
        return True

    def _copy(self, name: str, ring: np.ndarray, written: int) -> None:
        columns = ring.shape[1]
        n_steps = min(written - self._copied.get(name, 0), columns)
        start = (written - n_steps) % columns
        for piece in (slice(start, min(start + n_steps, columns)), slice(0, max(start + n_steps - columns, 0))):
            if piece.start < piece.stop:
                rows = ring[:, piece].swapaxes(0, 1).reshape(-1, *ring.shape[2:])
                self._tables.write(name, piece.start * self._n_envs, rows)
        self._copied[name] = written

    def gather(self, drawn: Drawn, scalings: Mapping[str, Scaling]) -> dict[str, Tensor]:
        """Return minibatches (K, B, ...) by name, on the device.

        Args:
            drawn: what they are made of.
            scalings: of normalisation, by name.
        """
        others = [name for name in self._copied if name != "observations"]
        rows = drawn.batched(drawn.columns * self._n_envs + drawn.envs)
        batch = {
            "observations": self._observations(drawn, drawn.frames, drawn.patches),
            "next_observations": self._observations(drawn, drawn.next_frames, drawn.next_patches),
            **self._tables.take(others, rows),
        }
        return batch | {name: self._tables.scale(batch[name], scaling) for name, scaling in scalings.items()}

    def _observations(self, drawn: Drawn, frames: np.ndarray, patches: Sequence[Patch]) -> Tensor:
        rows = drawn.batched(frames * self._n_envs + drawn.env_of(frames))
        (taken,) = self._tables.take(["observations"], rows).values()
        if not patches:
            return taken
        positions, values = zip(*patches, strict=True)
        return self._tables.replace(taken, np.concatenate(positions), np.concatenate(values))
