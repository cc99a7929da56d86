"""A look at an observation: of nearly all it tells that nothing is wrong, for a tenth of what a check costs.

What a look cannot tell is left to the check (`bad_steps.StepCheck`), which knows every form and says what is wrong.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Observation, Space

Look = Callable[[Observation], Observation]
"""Returns an observation as the agent sees it, or None where it has to be checked; None says nothing of it."""

_Write = Callable[[np.ndarray, Observation], bool]
"""Writes a part of an observation to its place in a row of zeros; False where it has to be checked."""
LARGEST = float(np.finfo(np.float32).max)
_FEW = 16
"""So many numbers are looked at one by one; more of them by numpy, which takes longer to begin."""


def look_of(space: spaces.Space[object] | None, *, is_flattened: bool, copies: bool = True) -> Look:
    """Return a look at observations of a space.

    Args:
        space: of one observation; of one that is not known, or of the user's own, a look tells nothing.
        is_flattened: the agent sees them as one vector of float32, see `observations.flat_observation_space`.
        copies: return new arrays; otherwise they may be the environment's own, which it goes on changing.
    """
    return _flat(space) if is_flattened else _as_it_is(space, copies)


def _as_it_is(space: object, copies: bool) -> Look:
    if isinstance(space, spaces.Box):
        return _array(space, copies)
    if isinstance(space, spaces.Discrete):
        return _choice(space)
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return _choices(space, copies)
    if isinstance(space, spaces.Dict):
        return _members({name: _as_it_is(member, copies) for name, member in space.spaces.items()})
    if isinstance(space, spaces.Tuple):
        return _row_of_members([_as_it_is(member, copies) for member in space.spaces])
    return lambda _: None


def _array(space: spaces.Box, copies: bool) -> Look:
    shape, dtype = space.shape, space.dtype
    is_float, is_single = dtype.kind == "f", dtype == np.float32
    is_short = len(shape) == 1 and shape[0] <= _FEW  # Python adds it up in less time than numpy begins to

    def look(observation: Observation) -> Observation:
        if type(observation) is not np.ndarray or observation.shape != shape:
            return None
        if observation.dtype != dtype:
            # float64 for float32 is common. Where the squares come to less than the largest float32, so does each.
            is_safe = is_single and observation.dtype == np.float64 and np.vdot(observation, observation) <= LARGEST
            return observation.astype(dtype) if is_safe else None
        if is_float:
            total = sum(observation.tolist()) if is_short else np.vdot(observation, observation)
            if not math.isfinite(total):
                return None
        return observation.copy() if copies else observation

    return look


def _choice(space: spaces.Discrete) -> Look:
    start, end = int(space.start), int(space.start + space.n)

    def look(observation: Observation) -> Observation:
        is_whole = type(observation) is int or isinstance(observation, np.integer)
        return observation if is_whole and start <= observation < end else None

    return look


def _choices(space: spaces.MultiDiscrete | spaces.MultiBinary, copies: bool) -> Look:
    shape, dtype = space.shape, space.dtype
    low, end = (space.start, space.start + space.nvec) if isinstance(space, spaces.MultiDiscrete) else (0, 2)

    def look(observation: Observation) -> Observation:
        if type(observation) is not np.ndarray or observation.shape != shape or observation.dtype != dtype:
            return None
        if not ((observation >= low) & (observation < end)).all():
            return None
        return observation.copy() if copies else observation

    return look


def _members(looks: dict[str, Look]) -> Look:
    def look(observation: Observation) -> Observation:
        if not isinstance(observation, dict):
            return None
        found: dict[str, object] = {}
        for name, part in looks.items():
            seen = part(observation.get(name))
            if seen is None:
                return None
            found[name] = seen
        return found

    return look


def _row_of_members(looks: list[Look]) -> Look:
    def look(observation: Observation) -> Observation:
        if type(observation) is not tuple or len(observation) != len(looks):
            return None
        found = tuple([part(member) for part, member in zip(looks, observation, strict=True)])
        return None if any(seen is None for seen in found) else found

    return look


# --- as one vector ---


def _flat(space: object) -> Look:
    write, size = _writer(space, 0)

    def look(observation: Observation) -> Observation:
        row = np.zeros(size, np.float32)
        return row if write(row, observation) else None

    return look


def _writer(space: Space, start: int) -> tuple[_Write, int]:
    """Return what writes an observation from the place `start` on, and the place after it."""
    if isinstance(space, spaces.Dict):
        named: list[tuple[str, _Write]] = []
        for name, member in space.spaces.items():
            write, start = _writer(member, start)
            named.append((name, write))
        return _named_parts(named), start
    if isinstance(space, spaces.Tuple):
        choices = [member for member in space.spaces if isinstance(member, spaces.Discrete)]
        if len(choices) == len(space.spaces):
            return _one_hots(choices, start), start + sum(int(one.n) for one in choices)
        listed: list[_Write] = []
        for member in space.spaces:
            write, start = _writer(member, start)
            listed.append(write)
        return _listed_parts(listed), start
    if isinstance(space, spaces.Discrete):
        return _one_hot(space, start), start + int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return _many_hot(space, start), start + int(space.nvec.sum())
    size = math.prod(space.shape)
    return _numbers(space.shape, start, start + size), start + size


def _named_parts(parts: list[tuple[str, _Write]]) -> _Write:
    def write(row: np.ndarray, observation: Observation) -> bool:
        if not isinstance(observation, dict):
            return False
        for name, part in parts:  # noqa: SIM110 - `all` of a generator takes twice as long
            if not part(row, observation.get(name)):
                return False
        return True

    return write


def _listed_parts(parts: list[_Write]) -> _Write:
    def write(row: np.ndarray, observation: Observation) -> bool:
        if type(observation) is not tuple or len(observation) != len(parts):
            return False
        for part, member in zip(parts, observation, strict=True):  # noqa: SIM110
            if not part(row, member):
                return False
        return True

    return write


def _one_hot(space: spaces.Discrete, start: int) -> _Write:
    first, n = int(space.start), int(space.n)

    def write(row: np.ndarray, observation: Observation) -> bool:
        if type(observation) is not int and not isinstance(observation, np.integer):
            return False
        place = int(observation) - first
        if not 0 <= place < n:
            return False
        row[start + place] = 1.0
        return True

    return write


def _one_hots(members: Sequence[spaces.Discrete], start: int) -> _Write:
    """The same of a tuple of choices, each in its place, without a call for each."""
    ends = list(itertools.accumulate((int(member.n) for member in members), initial=start))
    places = [(place, int(one.start), int(one.n)) for place, one in zip(ends, members, strict=False)]

    def write(row: np.ndarray, observation: Observation) -> bool:
        if type(observation) is not tuple or len(observation) != len(places):
            return False
        for value, (place, first, n) in zip(observation, places, strict=True):
            if (type(value) is not int and not isinstance(value, np.integer)) or not first <= value < first + n:
                return False
            row[place + int(value) - first] = 1.0
        return True

    return write


def _many_hot(space: spaces.MultiDiscrete, start: int) -> _Write:
    shape, first, sizes = space.shape, space.start.reshape(-1), space.nvec.reshape(-1)
    starts = start + np.cumsum(sizes) - sizes
    listed = list(zip(starts.tolist(), first.tolist(), sizes.tolist(), strict=True))

    def write(row: np.ndarray, observation: Observation) -> bool:
        if type(observation) is not np.ndarray or observation.shape != shape or observation.dtype.kind not in "iu":
            return False
        if len(listed) <= _FEW:
            for value, (place, least, n) in zip(observation.reshape(-1).tolist(), listed, strict=True):
                if not least <= value < least + n:
                    return False
                row[place + value - least] = 1.0
            return True
        places = observation.reshape(-1) - first
        if not ((places >= 0) & (places < sizes)).all():
            return False
        row[starts + places] = 1.0
        return True

    return write


def _numbers(shape: tuple[int, ...], start: int, stop: int) -> _Write:
    def write(row: np.ndarray, observation: Observation) -> bool:
        if type(observation) is not np.ndarray or observation.shape != shape:
            return False
        kind = observation.dtype.kind
        if kind == "f":
            if not np.vdot(observation, observation) <= LARGEST:  # no NaN either
                return False
        elif kind not in "biu":
            return False
        row[start:stop] = observation.reshape(-1)
        return True

    return write
