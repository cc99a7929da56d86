"""Whether episodes are the same one again: what repeats itself is no further evidence. Pure functions of windows.

Two stretches of experience are *alike* where their observations are the same throughout and so are the rewards; or,
with observations that change, where the observations are the same although the actions are not: they come from a record
that no action alters. Episodes of a deterministic simulator that begins in one state are alike for one policy, and so
are those of an environment that replays data from its first row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeAlias, cast

import numpy as np

from tensor_optix.core.types import EpisodeData, Observation
from tensor_optix.support.narrowing import is_mapping
from tensor_optix.support.trees import Tree, leaves, mapped

ENOUGH_STEPS, ENOUGH_EPISODES = 200, 20
"""Repeated steps, or episodes alike, after which chance is no explanation."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """How far the episodes of validation were alike, each compared with those of its own window."""

    episodes: int = 0
    """Episodes alike so far."""
    steps: int = 0
    """Steps of them that had come before."""
    length: int = 0
    """Steps of the newest."""
    is_refuted: bool = False
    """True once two episodes of a window were not alike."""

    @property
    def is_certain(self) -> bool:
        """True if every episode repeats the others of its window, and there were enough of them."""
        return not self.is_refuted and (self.steps >= ENOUGH_STEPS or self.episodes >= ENOUGH_EPISODES)

    def seen(self, window: EpisodeData) -> Self:
        """Return what is known after one more window, in which one policy has acted.

        Args:
            window: a window of whole episodes; one of a single episode, or of several environments, tells nothing.
        """
        if self.is_refuted or window.n_envs != 1:
            return self
        first, *others = _episodes(window) or [(window, slice(0))]
        if not others:
            return self
        length = first[1].stop
        if any(rows.stop - rows.start != length for _, rows in others) or not all(_alike(first, one) for one in others):
            return replace(self, is_refuted=True)
        steps = self.steps + len(others) * length
        return replace(self, episodes=self.episodes + len(others) + 1, steps=steps, length=length)


def is_again(window: EpisodeData, earlier: Sequence[EpisodeData]) -> bool:
    """Return whether a window is alike to one of some earlier ones, in which the same policy acted.

    Args:
        window: the newest.
        earlier: those before it.
    """
    stretches = [(one, slice(None)) for one in earlier if one.length == window.length]
    return any(_alike(one, (window, slice(None))) for one in stretches)


def starts_of(window: EpisodeData, is_new: bool) -> Iterator[bytes]:
    """Yield what tells the first observations of a window's episodes apart; nothing of those that are no plain array.

    Args:
        window: of one environment.
        is_new: True if its first row begins an episode.
    """
    observations: Observation = window.observations
    if window.n_envs != 1 or type(observations) is not np.ndarray or observations.dtype.hasobject:
        return
    for first in (*([0] if is_new else []), *(end + 1 for end in np.flatnonzero(window.dones))):
        if first < window.length:
            yield observations[first].tobytes()


def part_of(values: Tree, rows: slice | np.ndarray) -> Tree:
    """Return some rows of an array, or of each of a tree's."""

    def part(leaf: Tree) -> np.ndarray:
        return np.asarray(leaf)[rows]

    return mapped(part, values)


_Stretch: TypeAlias = tuple[EpisodeData, slice]


def _episodes(window: EpisodeData) -> list[_Stretch]:
    """Return the rows of each episode that ends in a window."""
    ends = (np.flatnonzero(window.dones) + 1).tolist()
    return [(window, slice(start, end)) for start, end in zip([0, *ends[:-1]], ends, strict=False)]


def _alike(first: _Stretch, second: _Stretch) -> bool:
    try:
        (seen, done, earned), (seen_again, done_again, earned_again) = _parts(first), _parts(second)
        if not _is_equal(seen, seen_again):
            return False
        return _is_equal(earned, earned_again) or (_changes(seen) and not _is_equal(done, done_again))
    except (TypeError, ValueError, IndexError):  # what no array holds, or cannot be compared, is not compared
        return False


def _parts(stretch: _Stretch) -> tuple[Tree, Tree, Tree]:
    window, rows = stretch
    return part_of(window.observations, rows), part_of(window.actions, rows), np.asarray(window.rewards)[rows]


def _changes(observations: Observation) -> bool:
    return any(not _is_equal(leaf[0], one) for leaf in leaves(observations) for one in leaf[1:])


def _is_equal(first: Tree, second: Tree) -> bool:
    if is_mapping(first):
        return first.keys() == second.keys() and all(_is_equal(part, second[name]) for name, part in first.items())
    parts, others = _parts_of(first), _parts_of(second)
    if parts is None or others is None:
        return bool(np.array_equal(first, second))
    return len(parts) == len(others) and all(map(_is_equal, parts, others))


def _parts_of(value: object) -> list[Tree] | None:
    """Return what is compared one by one: the parts of a sequence or a graph, and the objects of an array."""
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray", value)
        return list(array.ravel()) if array.dtype.hasobject else None
    return list(cast("Sequence[object]", value)) if isinstance(value, tuple | list) else None
