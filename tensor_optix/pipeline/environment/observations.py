"""The forms in which agents see an environment's observations: as it returns them, or flat."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Observation, Space
from tensor_optix.errors import BadDataError, SpaceError
from tensor_optix.pipeline.environment.looks import Look, look_of
from tensor_optix.support.trees import column, objects

_LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_STRUCTURED = (spaces.Dict, spaces.Tuple, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""Spaces whose observations have another form when they are flat, beside a `Box` without an axis."""


def flat_observation_space(space: spaces.Space[object]) -> spaces.Box:
    """Return the space of flat observations: a `Box` with axes as it is, all others as a vector of float32.

    The order of the numbers is that of `gymnasium.spaces.flatten`; discrete values are one-hot.

    Raises:
        SpaceError: a space that has no such form.
    """
    if isinstance(space, spaces.Box) and space.shape and space.low.size:
        return space
    if not _is_flattened(space):
        raise SpaceError(f"Observations of {space} cannot be flattened to an array. {_remedy(space)}")
    flat = (spaces.flatten_space(leaf) for leaf in _leaves(space) if isinstance(leaf, _LEAVES))
    parts = [part for part in flat if isinstance(part, spaces.Box)]
    if not sum(part.low.size for part in parts):
        raise SpaceError(f"Observations of {space} hold no number: there is nothing to learn from. {_remedy(None)}")
    low, high = np.concatenate([part.low for part in parts]), np.concatenate([part.high for part in parts])
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), low.shape, np.float32)


def blank_observations(space: spaces.Space[object], n: int) -> np.ndarray:
    """Return n flat observations without a meaning, in the form in which they come: a choice is one-hot.

    Raises:
        SpaceError: a space that has no such form.
    """
    flat = flat_observation_space(space)
    rows = np.zeros((n, *flat.shape), flat.dtype)
    if isinstance(space, spaces.Discrete):
        rows[:, 0] = 1.0
    return rows


def _remedy(space: object) -> str:
    """Return how to leave out or replace the parts of a space that are no array."""
    if isinstance(space, spaces.Dict):
        kept = [name for name, member in space.spaces.items() if _is_flattened(member)]
        if kept:
            keys = json.dumps(kept, separators=(",", ":"))
            return (
                f"Leave the others out: gymnasium.wrappers.FilterObservation(env, {kept!r}), on the command line "
                f"--wrapper 'gymnasium.wrappers:FilterObservation:filter_keys={keys}'."
            )
    return (
        "Make an array of them: gymnasium.wrappers.TransformObservation(env, function, space) with a Box, Discrete, "
        "MultiDiscrete or MultiBinary space, or Dict and Tuple of them."
    )


def _is_flattened(space: object) -> bool:
    return all(isinstance(leaf, _LEAVES) for leaf in _leaves(space))


class ObservationForm:
    """Turns an environment's observations into what an agent sees: checked copies of them, or flat arrays.

    Args:
        space: of one observation; one of the user's own kind passes as it is, and so does what is of no known one.
        is_flat: flatten structures, for an agent that declares that it wants them so.

    Attributes:
        space: of what comes out.
        is_flattened: whether that is another form than what went in.

    Raises:
        SpaceError: structures that cannot be flattened.
    """

    def __init__(self, space: spaces.Space[object] | None, *, is_flat: bool = False) -> None:
        self._raw = space
        self.space: Space = space
        self.is_flattened = False
        if is_flat and (isinstance(space, _STRUCTURED) or (isinstance(space, spaces.Box) and not space.shape)):
            self.is_flattened, self.space = True, flat_observation_space(space)

    @property
    def has_look(self) -> bool:
        """Whether a look tells of observations that nothing is wrong with them."""
        return _is_flattened(self._raw)

    def look(self, *, copies: bool = True) -> Look:
        """Return a look at observations as the environment returns them; see `looks.look_of`."""
        return look_of(self._raw, is_flattened=self.is_flattened, copies=copies)

    def one(self, observation: object) -> Observation:
        """Return one observation with its arrays copied: the environment may change those that it returned.

        Raises:
            BadDataError: it is not of the space.
        """
        if self.is_flattened:
            return self.batch(observation, 1)[0]
        return _one(self._raw, observation)

    def batch(self, observations: object, n: int) -> Observation:
        """Return the batched observations of n environments as new arrays (n, ...).

        Raises:
            BadDataError: they are not of the space.
        """
        if self.is_flattened:
            return np.concatenate([part.astype(np.float32) for part in _parts(self._raw, observations, n)], axis=1)
        return _batch(self._raw, observations, n)

    def stacked(self, observations: Sequence[Observation]) -> Observation:
        """Return what `one` returned, several times, as arrays with one row each."""
        return stacked_as(self.space, observations)

    def together(self, observations: Sequence[Observation]) -> Observation:
        """Return the same in the dtypes of the space, as `batch` does."""
        return _of_dtypes(self.space, stacked_as(self.space, observations))

    def nothing(self, n: int) -> Observation:
        """Return n observations that stand in for bad ones and have no meaning."""
        return _nothing(self.space, n)


def stacked_as(space: spaces.Space[object] | None, rows: Sequence[Observation]) -> Observation:
    """Return values of a space (None = not known) as arrays with one row each, in dicts and tuples where it is one."""
    if isinstance(space, spaces.Dict):
        return {name: stacked_as(member, [row[name] for row in rows]) for name, member in space.spaces.items()}
    if space is None and isinstance(rows[0], Mapping):
        return {name: stacked_as(None, [row[name] for row in rows]) for name in rows[0]}
    if isinstance(space, spaces.Tuple):
        return tuple(stacked_as(member, [row[i] for row in rows]) for i, member in enumerate(space.spaces))
    is_array = space is None or isinstance(space, _LEAVES) or isinstance(rows[0], np.ndarray | np.generic | str)
    return column(rows) if is_array else objects(rows)


def _leaves(space: object) -> list[object]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        members = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return [leaf for member in members for leaf in _leaves(member)]
    return [space]


# --- as the environment returns them ---


def _one(space: Space, observation: Observation, *, is_nested: bool = False) -> Observation:
    if isinstance(space, spaces.Dict):
        return {name: _one(member, observation[name], is_nested=True) for name, member in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        members = zip(space.spaces, _members(space, observation), strict=True)
        return tuple(_one(member, part, is_nested=True) for member, part in members)
    if isinstance(space, _LEAVES) and (is_nested or not isinstance(space, spaces.Box)):  # a box is checked as feeds are
        array = _leaf(space, np.array(observation), ())
        return array if isinstance(observation, np.ndarray | list | tuple) else observation
    return _of_dtype(space, observation.copy()) if isinstance(observation, np.ndarray) else observation


def _batch(space: Space, observations: Observation, n: int, *, is_nested: bool = False) -> Observation:
    if isinstance(space, spaces.Dict):
        return {name: _batch(member, observations[name], n, is_nested=True) for name, member in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        members = zip(space.spaces, _members(space, observations), strict=True)
        return tuple(_batch(member, part, n, is_nested=True) for member, part in members)
    array = column(observations) if isinstance(space, _LEAVES) else stacked_as(space, list(observations))
    if isinstance(space, _LEAVES) and (is_nested or not isinstance(space, spaces.Box)):
        return _leaf(space, array, (n,), is_finite=True)
    return _of_dtype(space, array)


def _members(space: spaces.Tuple, observation: Observation) -> Sequence[Observation]:
    if len(observation) != len(space.spaces):
        raise BadDataError(f"an observation of {len(observation)} members, where {space} has {len(space.spaces)}")
    return observation


def _of_dtypes(space: Space, tree: Observation) -> Observation:
    if isinstance(space, spaces.Dict):
        return {name: _of_dtypes(member, tree[name]) for name, member in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_of_dtypes(member, part) for member, part in zip(space.spaces, tree, strict=True))
    return _of_dtype(space, tree)


def _of_dtype(space: Space, array: np.ndarray) -> np.ndarray:
    """Return an array with the space's dtype where that is of the same kind: float64 for float32 is common."""
    if not isinstance(space, _LEAVES) or array.dtype == space.dtype:
        return array
    if not np.can_cast(array.dtype, space.dtype, "same_kind"):
        return array
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is found as such
        return array.astype(space.dtype)


def _leaf(space: Space, array: np.ndarray, batch: tuple[int, ...], *, is_finite: bool = False) -> np.ndarray:
    """Return values (*batch, ...) of one array's space in its dtype.

    Args:
        space: of one.
        array: the values.
        batch: (n,) of n observations, () of one.
        is_finite: somebody else looks whether they are.

    Raises:
        BadDataError: no agent must act on them.
    """
    if array.shape != (*batch, *space.shape):
        raise BadDataError(f"it has shape {array.shape} where {space} has {(*batch, *space.shape)}")
    if array.dtype.kind not in "biuf":
        raise BadDataError(f"it is of dtype {array.dtype}, which is no number")
    if isinstance(space, spaces.Box):
        array = _of_dtype(space, array)
        if not (is_finite or np.isfinite(array).all()):
            raise BadDataError("it is not finite")
        return array
    sizes, start = 2, 0
    if not isinstance(space, spaces.MultiBinary):
        sizes, start = (space.n if isinstance(space, spaces.Discrete) else space.nvec), space.start
    _check_discrete(array - start if array.dtype.kind in "biu" else array, sizes)
    return _of_dtype(space, array)


def _nothing(space: Space, n: int) -> Observation:
    if isinstance(space, spaces.Dict):
        return {name: _nothing(member, n) for name, member in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_nothing(member, n) for member in space.spaces)
    return np.zeros((n, *(space.shape or ())), space.dtype if isinstance(space, _LEAVES) else np.float32)


# --- flat ---


def _parts(space: Space, observations: Observation, n: int) -> list[np.ndarray]:
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
    _check_discrete(values, sizes)
    found = np.zeros((len(values), int(sizes.sum())), np.float32)
    starts = np.cumsum(sizes) - sizes
    found[np.arange(len(values))[:, None], values + starts] = 1.0
    return found


def _check_discrete(values: np.ndarray, sizes: int | np.ndarray) -> None:
    """Raise `BadDataError` unless values, counted from 0, are integers below `sizes`."""
    if values.dtype.kind not in "biu" or (values < 0).any() or (values >= sizes).any():
        raise BadDataError(
            f"A discrete observation holds {values.tolist()}, counted from 0, of {np.asarray(sizes).tolist()} each."
        )
