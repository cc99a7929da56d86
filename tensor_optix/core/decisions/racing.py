"""Which of several policies stay in a race for the best: the clearly worse drop out first, and of the close ones half.

All play the same episodes, in rounds that grow, so that most of them are spent on those that are hard to tell apart.

Source: "Almost Optimal Exploration in Multi-Armed Bandits", Karnin, Koren, Somekh, 2013 (sequential halving);
"Hoeffding Races", Maron and Moore, 1993.
"""

import math
from collections.abc import Sequence

from tensor_optix.core.decisions.intervals import Span, span_of
from tensor_optix.core.decisions.ranking import lower_bound

Scores = Sequence[float]
"""Of the windows that a policy has played."""


def plausible(scores: Sequence[Scores]) -> list[int]:
    """Return which policies could be the best, best mean first: whose upper bound is at least every lower bound.

    Args:
        scores: of the windows of each.
    """
    span = span_of(value for those in scores for value in those)
    highest = max((lower_bound(those, span) for those in scores), default=-math.inf)
    return [i for i in by_mean(scores) if upper_bound(scores[i], span) >= highest]


def survivors(scores: Sequence[Scores], fewest: int = 2) -> list[int]:
    """Return which policies go on to the next round, best mean first: the better half of those that could be the best.

    Args:
        scores: of the windows of each.
        fewest: so many are not halved.
    """
    left = plausible(scores)
    return left[: max(fewest, (len(left) + 1) // 2)]


def by_mean(scores: Sequence[Scores]) -> list[int]:
    """Return the policies in the order of their means, best first; of equals the earlier one first."""
    return sorted(range(len(scores)), key=lambda i: (-math.fsum(scores[i]) / len(scores[i]), i))


def upper_bound(scores: Scores, span: Span | None) -> float:
    """Return where the mean lies at most: the mirror of `lower_bound`."""
    return -lower_bound([-value for value in scores], None if span is None else (-span[1], -span[0]))
