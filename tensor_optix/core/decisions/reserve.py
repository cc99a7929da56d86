"""Policies that are kept although they were not the best, as alternatives for the last test.

The best is found among few episodes, and a policy that was better may never have beaten it. So policies are kept on a
geometric grid of time, and those around which the scores were highest: neighbours in time are much alike, so that the
scores around a policy tell more of it than its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

MOST_RESERVED = 12
"""Policies in reserve at most, whatever a registry may keep."""
SPACING = 32
"""A policy is put in reserve after each 32nd of the steps so far: the number of saves grows with their logarithm."""
NEIGHBOURS = 2
"""Evaluations before and after a policy that tell of it."""


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """A policy in reserve."""

    snapshot_id: str
    steps: int
    """Environment steps until then."""
    scores: tuple[float, ...]
    """Of the evaluations around it, in the order of time."""
    later: int = 0
    """How many of them came after it."""

    @property
    def level(self) -> float:
        """Mean of the scores around it."""
        return math.fsum(self.scores) / len(self.scores)


Reserve: TypeAlias = tuple[Reserved, ...]
"""Policies in reserve, in the order of time."""


def is_due(reserve: Reserve, steps: int) -> bool:
    """Return True if a policy is to be put in reserve.

    Args:
        reserve: those that are.
        steps: environment steps so far.
    """
    return not reserve or steps - reserve[-1].steps >= steps / SPACING


def observed(reserve: Reserve, score: float) -> Reserve:
    """Return the reserve after another evaluation, which also tells of the policies just before it.

    Args:
        reserve: those before.
        score: of the evaluation.
    """
    return tuple(
        replace(one, scores=(*one.scores, score), later=one.later + 1) if one.later < NEIGHBOURS else one
        for one in reserve
    )


def thinned(reserve: Reserve, most: int) -> Reserve:
    """Return at most so many: the newest, half of them for the scores around them, the others spread over time.

    Of the others the one goes whose neighbours are closest to each other in the logarithm of the steps.

    Args:
        reserve: in the order of time.
        most: how many may stay, at least 1.
    """
    while len(reserve) > most:
        by_level = sorted(reserve[:-1], key=lambda one: (-one.level, -one.steps))
        stay = {reserve[-1].snapshot_id, *(one.snapshot_id for one in by_level[: most // 2])}
        others = [i for i, one in enumerate(reserve) if one.snapshot_id not in stay]
        gone = min(others, key=lambda i: _gap(reserve, i))
        reserve = (*reserve[:gone], *reserve[gone + 1 :])
    return reserve


def _gap(reserve: Sequence[Reserved], i: int) -> float:
    """Return the logarithm of the ratio between the steps of a policy's neighbours; the first one has only one."""
    here, after = max(reserve[i].steps, 1), max(reserve[i + 1].steps, 1)
    return 2.0 * math.log(after / here) if i == 0 else math.log(after / max(reserve[i - 1].steps, 1))
