"""Which snapshot comes first: by a lower bound of the mean return, where the episodes behind it are known.

The mean of few episodes is high by chance more often than that of many: ten successes in ten say less than ninety-five
in a hundred. So snapshots are ranked by where the mean return lies at least, and a policy owes its rank to episodes.
"""

import math
from collections.abc import Sequence

import numpy as np

from tensor_optix.core.decisions.intervals import UNSEEN_WEIGHT, Span, span_of
from tensor_optix.core.types import EvalMetrics, PlayedWindow, PolicySnapshot

DEVIATIONS = 1.28
"""How many standard deviations below its mean a policy ranks: the tenth percentile of a normal distribution."""


def ranked(snapshots: Sequence[PolicySnapshot]) -> list[PolicySnapshot]:
    """Return the scored ones, best first, the newest era before all others; of equals the earlier one first.

    An era is ranked by lower bounds if the episodes behind each of its scores are known, else by scores. What is in
    reserve does not rank.

    Args:
        snapshots: of one run.
    """
    scored = [s for s in snapshots if s.eval_metrics.is_usable and not s.in_reserve]
    bounds: dict[int, float] = {}
    for era in {snapshot.era for snapshot in scored}:
        those = [snapshot for snapshot in scored if snapshot.era == era]
        bounds |= {s.sequence: bound for s, bound in zip(those, lower_bounds(those), strict=True)}
    return sorted(scored, key=lambda s: (-s.era, -bounds[s.sequence], -s.eval_metrics.utility, s.sequence))


def lower_bounds(snapshots: Sequence[PolicySnapshot]) -> list[float]:
    """Return a lower bound of each mean utility, or each utility where the episodes behind one of them are not known.

    Args:
        snapshots: of one era, each of them with a score.
    """
    if not all(rests_on_returns(s.evidence, s.eval_metrics) for s in snapshots):
        return [snapshot.eval_metrics.utility for snapshot in snapshots]
    returns = [utilities_of(snapshot.evidence, snapshot.eval_metrics) for snapshot in snapshots]
    span = span_of(value for those in returns for value in those)
    return [lower_bound(those, span) for those in returns]


def lower_bound(returns: Sequence[float], span: Span | None) -> float:
    """Return where the mean return lies at least: of the distribution behind `mean_interval`, mean − 1.28·deviation.

        M = W₀·low + Σ Wᵢ·Gᵢ,    (W₀, W₁, …, Wₙ) ~ Dirichlet(0.75, 1, …, 1)

    The moments of M are known in closed form, so that many snapshots are ranked at no cost.

    Args:
        returns: of each episode.
        span: lowest and highest return of all policies that it is compared with.
    """
    lowest = min([*returns, *(span or ())[:1]])
    above = np.array([0.0, *returns], np.float64) - np.array([0.0, *[lowest] * len(returns)])
    reach = float(above.max())
    if reach == 0.0:
        return lowest
    shares, weights = above / reach, np.array([UNSEEN_WEIGHT, *[1.0] * len(returns)])
    total = float(weights.sum())
    mean = float(weights @ shares) / total
    variance = float(weights @ (shares - mean) ** 2) / total / (total + 1.0)
    return lowest + reach * (mean - DEVIATIONS * math.sqrt(variance))


def returns_of(evidence: Sequence[PlayedWindow]) -> list[float]:
    """Return the returns of all episodes of some windows."""
    return [value for window in evidence for value in window.returns]


def utilities_of(evidence: Sequence[PlayedWindow], metrics: EvalMetrics) -> list[float]:
    """Return the returns of all episodes of some windows, the higher the better.

    Args:
        evidence: the windows.
        metrics: the evaluation that rests on them, see `rests_on_returns`.
    """
    return [metrics.sign * value for value in returns_of(evidence)]


def score_returns(evidence: Sequence[PlayedWindow]) -> bool:
    """Return True if the score of each window is the mean of its returns."""
    return all(window.scores_its_returns for window in evidence)


def rests_on_returns(evidence: Sequence[PlayedWindow], metrics: EvalMetrics) -> bool:
    """Return True if a score, and not a grade, is decided on, and is the mean of the returns behind it.

    Args:
        evidence: the windows behind it.
        metrics: the evaluation.
    """
    if metrics.grade is not None or not (returns := returns_of(evidence)):
        return False
    return math.isclose(float(np.mean(returns)), metrics.primary_score, rel_tol=1e-9, abs_tol=1e-9)
