"""Actions of built-in agents in the form of any space: choices are counted from 0, and numbers are one vector."""

import math

import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Action


def has_flat_form(space: spaces.Space[object] | None) -> bool:
    """Return whether flat actions have another form than those of a space.

    `Discrete` and `MultiDiscrete` that do not begin at 0, and `Box`, `MultiDiscrete` and `MultiBinary` that have not
    one axis.
    """
    has_axes = isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary)
    return bool(np.any(_start_of(space))) or (has_axes and len(space.shape) != 1)


def _start_of(space: object) -> int | np.ndarray:
    if isinstance(space, spaces.Discrete):
        return int(space.start)
    return space.start if isinstance(space, spaces.MultiDiscrete) else 0


class FlatActions:
    """Gives flat actions the form of a space, and takes it from them.

    Args:
        space: of the environment's actions.
    """

    def __init__(self, space: spaces.Space[object] | None) -> None:
        self._start = _start_of(space)
        self._has_start = bool(np.any(self._start))
        has_axes = isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary)
        self._shape = space.shape if has_axes and len(space.shape) != 1 else None

    def formed(self, action: Action) -> Action:
        """Return flat actions (..., K) as the environment takes them."""
        if self._shape is not None:
            action = np.asarray(action)
            action = action.reshape((*action.shape[:-1], *self._shape))
        return action + self._start if self._has_start else action

    def flat(self, action: Action) -> Action:
        """Return the environment's actions as flat ones (..., K)."""
        action = action - self._start if self._has_start else action
        if self._shape is None:
            return action
        action = np.asarray(action)
        batch = action.shape[: action.ndim - len(self._shape)]
        return action.reshape((*batch, math.prod(self._shape)))
