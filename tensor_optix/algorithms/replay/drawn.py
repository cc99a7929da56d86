"""Which transitions minibatches are made of, and how numpy gathers them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Patch: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Observations that the ring does not hold: the drawn transitions (p,) that have them, and what they are (p, ...)."""


@dataclass(frozen=True)
class Drawn:
    """M = K·B transitions that were drawn from a ring of N environments and C columns."""

    n_batches: int
    """K."""
    envs: np.ndarray
    """(M,)."""
    columns: np.ndarray
    """(M,)."""
    frames: np.ndarray
    """(M,) columns of the observations; (M, D) of stacks of D frames."""
    next_frames: np.ndarray
    """The same, of what followed."""
    patches: Sequence[Patch]
    """Observations that are other than what `frames` says, each transition once."""
    next_patches: Sequence[Patch]
    """The same, of what followed."""

    def env_of(self, frames: np.ndarray) -> np.ndarray:
        """Return the environments (M,) or (M, 1) of frames."""
        return self.envs if frames.ndim == 1 else self.envs[:, None]

    def batched(self, values: np.ndarray) -> np.ndarray:
        """Return rows (M, ...) as minibatches (K, B, ...)."""
        return values.reshape(self.n_batches, -1, *values.shape[1:])


def frames_of(columns: np.ndarray, depth: int, n_columns: int) -> np.ndarray:
    """Return the columns of the frames (M, D) that observations in columns (M,) are stacks of; (M,) where D = 1."""
    return columns if depth == 1 else (columns[:, None] - np.arange(depth - 1, -1, -1)) % n_columns


def gathered(drawn: Drawn, rings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return minibatches (K, B, ...) by name.

    Args:
        drawn: what they are made of.
        rings: (N, C, ...) by name.
    """
    observations = rings["observations"]
    batch = {
        "observations": _patched(observations[drawn.env_of(drawn.frames), drawn.frames], drawn.patches),
        "next_observations": _patched(
            observations[drawn.env_of(drawn.next_frames), drawn.next_frames], drawn.next_patches
        ),
        **{name: ring[drawn.envs, drawn.columns] for name, ring in rings.items() if name != "observations"},
    }
    return {name: drawn.batched(values) for name, values in batch.items()}


def _patched(observations: np.ndarray, patches: Sequence[Patch]) -> np.ndarray:
    for positions, values in patches:
        observations[positions] = values
    return observations
