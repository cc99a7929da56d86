"""What agents see of an environment's observations: arrays, with every structure flattened."""

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from tensor_optix.errors import BadDataError, SpaceError

_FLATTENED = (spaces.Dict, spaces.Tuple, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def agent_observation_space(space: spaces.Space[Any]) -> spaces.Box:
    """Return the space of what an agent sees: a `Box` as it is, any structure flattened to a vector of float32.

    The order of the numbers is that of `gymnasium.spaces.flatten`; discrete values are one-hot.

    Raises:
        SpaceError: a space that has no such form.
    """
    if isinstance(space, spaces.Box):
        return space
    flat = spaces.flatten_space(space) if all(isinstance(leaf, _LEAVES) for leaf in _leaves(space)) else None
    if not isinstance(flat, spaces.Box):
        raise SpaceError(
            f"Observations of {space} cannot be flattened to an array. Use Box, Discrete, MultiDiscrete, MultiBinary, "
            f"or Dict and Tuple of them, or wrap the environment (gymnasium.wrappers.TransformObservation)."
        )
    return spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32), flat.shape, np.float32)


class ObservationFlattener:
    """Turns an environment's observations into what agents see.

    Args:
        space: of one observation; one of the user's own kind passes as it is.

    Attributes:
        space: of what comes out.
        is_flattened: whether that is another form than what went in.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.is_flattened = isinstance(space, _FLATTENED)
        self._raw = space
        self.space = agent_observation_space(space) if self.is_flattened else space
        self._dtype = space.dtype if isinstance(space, spaces.Box) else None

    def one(self, observation: object) -> Any:
        """Return a copy of one observation as an array: the environment may change the one that it returned."""
        if self.is_flattened:
            return self.batch(observation, 1)[0]
        return self._of_space(observation.copy()) if isinstance(observation, np.ndarray) else observation

    def batch(self, observations: object, n: int) -> np.ndarray:
        """Return the batched observations of n environments as a new array (n, ...)."""
        if not self.is_flattened:
            return self._of_space(np.array(observations))
        return np.concatenate([part.astype(np.float32) for part in _parts(self._raw, observations, n)], axis=1)

    def _of_space(self, array: np.ndarray) -> np.ndarray:
        """Return an array with the space's dtype where that is of the same kind: float64 for float32 is common."""
        if self._dtype is None or array.dtype == self._dtype or not np.can_cast(array.dtype, self._dtype, "same_kind"):
            return array
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is found as such
            return array.astype(self._dtype)


def _leaves(space: object) -> list[object]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        members = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return [leaf for member in members for leaf in _leaves(member)]
    return [space]


def _parts(space: Any, observations: Any, n: int) -> list[np.ndarray]:
    """Return the flattened parts (n, d) of n observations of `space`, or of one where n is 1."""
    if isinstance(space, spaces.Dict):
        return [part for name, member in space.spaces.items() for part in _parts(member, observations[name], n)]
    if isinstance(space, spaces.Tuple):
        return [part for i, member in enumerate(space.spaces) for part in _parts(member, observations[i], n)]
    rows = np.asarray(observations).reshape(n, math.prod(space.shape))
    if isinstance(space, spaces.Discrete):
        return [_one_hot(rows - space.start, np.array([space.n]))]
    if isinstance(space, spaces.MultiDiscrete):
        return [_one_hot(rows - space.start.reshape(-1), space.nvec.reshape(-1))]
    return [rows]


def _one_hot(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return (n, sum of sizes): the values (n, k) one-hot, each in as many places as its size.

    Raises:
        BadDataError: a value that has no place.
    """
    if values.dtype.kind not in "biu" or (values < 0).any() or (values >= sizes).any():
        raise BadDataError(f"A discrete observation holds {values.tolist()}, counted from 0, of {sizes.tolist()} each.")
    found = np.zeros((len(values), int(sizes.sum())), np.float32)
    starts = np.cumsum(sizes) - sizes
    found[np.arange(len(values))[:, None], values + starts] = 1.0
    return found
