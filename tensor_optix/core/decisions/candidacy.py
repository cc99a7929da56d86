"""Whether a candidate for the best is ahead of it, by what both have shown. Pure functions.

Where scores are means of returns, they are compared by bounds of the mean return (`decisions.ranking`).
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

from tensor_optix.core.decisions.intervals import Span, span_of
from tensor_optix.core.decisions.racing import upper_bound
from tensor_optix.core.decisions.ranking import lower_bound, rests_on_returns, utilities_of
from tensor_optix.core.decisions.trend import DEGRADATION_ERRORS, is_improvement
from tensor_optix.core.types import EvalMetrics, PlayedWindow

Shown: TypeAlias = tuple[Sequence[PlayedWindow], EvalMetrics]
"""The windows that a policy has played, and its score over them."""
FEWEST_EPISODES = 5
"""From so many on their spread tells an error."""


def could_be_ahead(metrics: EvalMetrics, incumbent: EvalMetrics, margin: float, *, errors: float = 1.0) -> bool:
    """Return True if a candidate is ahead of the incumbent, or behind by no more than some errors of the difference.

    Args:
        metrics: of the candidate.
        incumbent: of the best so far.
        margin: by how much it must be beaten, in units of the score.
        errors: so many standard errors.
    """
    known = [error for error in (metrics.utility_std_err, incumbent.utility_std_err) if math.isfinite(error)]
    return is_improvement(metrics.utility + errors * math.hypot(*known), incumbent.utility, margin)


def is_behind(candidate: Shown, incumbent: EvalMetrics, margin: float) -> bool:
    """Return True if a candidate is known to be behind, by more than twice the error of the difference.

    Args:
        candidate: what it has shown.
        incumbent: of the best so far.
        margin: by how much it must be beaten, in units of the score.
    """
    windows, metrics = candidate
    if metrics.grade is not None or incumbent.grade is not None or not math.isfinite(metrics.utility_std_err):
        return False
    episodes = sum(len(window.returns) for window in windows)
    return episodes >= FEWEST_EPISODES and not could_be_ahead(metrics, incumbent, margin, errors=DEGRADATION_ERRORS)


def is_surely_ahead(candidate: Shown, incumbent: Shown) -> bool:
    """Return True if the candidate's lower bound is the higher one, or where no bounds are known.

    Args:
        candidate: what it has shown.
        incumbent: what the best so far has shown.
    """
    found = _bounded(candidate, incumbent)
    if found is None:
        return True
    ours, theirs, span = found
    return lower_bound(ours, span) > lower_bound(theirs, span)


def is_clearly_ahead(candidate: Shown, incumbent: Shown) -> bool:
    """Return True if the candidate's lower bound is above the incumbent's upper bound; False where none are known.

    Args:
        candidate: what it has shown.
        incumbent: what the best so far has shown.
    """
    found = _bounded(candidate, incumbent)
    if found is None:
        return False
    ours, theirs, span = found
    return len(ours) >= FEWEST_EPISODES and lower_bound(ours, span) > upper_bound(theirs, span)


def _bounded(candidate: Shown, incumbent: Shown) -> tuple[list[float], list[float], Span | None] | None:
    """Return the utilities of both, and their common span; None where no bounds are known."""
    if not (rests_on_returns(*candidate) and rests_on_returns(*incumbent)):
        return None
    ours, theirs = utilities_of(*candidate), utilities_of(*incumbent)
    return ours, theirs, span_of([*ours, *theirs])
