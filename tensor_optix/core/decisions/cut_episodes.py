"""Scores of episodes that validation has cut: two of them compare only where both were cut after as many steps.

The bound of an episode doubles while the budget of validation grows, and a return so far is no share of the whole one:
a game of Pong that is lost stands at -4 after 200 steps, and ends at -21. So where a longer bound comes into force, an
era of scores begins. The best plays the episodes of the first evaluation under it, and those two are compared. The
learning curve goes on, as what it tells of rises and quiet is not less true: with w the first window of longer
episodes, and w' the same with each cut after as many steps as before,

    s + (score(w) − score(w'))       takes the place of each earlier score s
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tensor_optix.core.decisions.repetition import part_of
from tensor_optix.core.types import PER_STEP, EpisodeData, PlayedWindow


def limit_of(windows: Sequence[PlayedWindow]) -> int | None:
    """Return after how many steps the longest episodes of some windows were cut; None where none was.

    Args:
        windows: of policies that are compared. A cut one compares only with such as were cut at the same length.
    """
    return max((window.episode_limit for window in windows if window.episode_limit is not None), default=None)


def cut_after(window: EpisodeData, steps: int) -> EpisodeData:
    """Return a window of whole episodes of one environment as if each had been cut after so many steps.

    Args:
        window: its rows are those of whole episodes, one after the other.
        steps: of an episode at most.
    """
    ends = np.flatnonzero(window.segment_ends())
    begins = np.concatenate([[0], ends[:-1] + 1])
    numbers = np.arange(window.length)
    rows = numbers[numbers - np.repeat(begins, ends + 1 - begins) < steps]
    last = np.minimum(ends, begins + steps - 1)
    terminated = np.asarray(window.terminated, bool)[rows]
    flags = {"terminated": terminated, "truncated": np.isin(rows, last) & ~terminated}
    return replace(rows_of(replace(window, n_envs=1), rows), **flags, completed=None, memories=None)


def rows_of(window: EpisodeData, rows: np.ndarray) -> EpisodeData:
    """Return a window of some rows of another; which episodes end in it is left to the caller.

    Args:
        window: the other one.
        rows: (T,) which.
    """
    given = {name: getattr(window, name) for name in PER_STEP - {"rewards", "terminated", "truncated"}}
    values: dict[str, Any] = {name: part_of(value, rows) for name, value in given.items() if value is not None}
    for name in ("rewards", "terminated", "truncated"):
        values[name] = np.asarray(getattr(window, name))[rows]
    return replace(window, **values, infos=[window.infos[row] for row in rows] if len(window.infos) else ())
