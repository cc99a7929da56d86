"""Do the bounds of a `Box` tell the scale of what lies within them?"""

from typing import Protocol

import numpy as np

NO_BOUND = 1e30
"""A bound beyond it stands for none, as float32's largest number does in many environments."""
WIDE = 1e6
"""Bounds further apart than this are rarely the scale of anything."""


class Bounded(Protocol):
    """A `Box`."""

    @property
    def low(self) -> np.ndarray:
        """The lowest of each number."""
        ...

    @property
    def high(self) -> np.ndarray:
        """The highest of each number."""
        ...


def has_bounds(space: Bounded) -> bool:
    """Return whether all numbers of a `Box` lie between two bounds; infinities and numbers beyond 1e30 are none."""
    return bool((np.abs(space.low) < NO_BOUND).all() and (np.abs(space.high) < NO_BOUND).all())


def are_wide(space: Bounded) -> bool:
    """Return whether some bounds of a `Box` that has bounds are more than 1e6 apart."""
    return bool((np.asarray(space.high, np.float64) - np.asarray(space.low, np.float64) > WIDE).any())
