"""What a learning curve says: its level, its last rise, its noise and its slope. Pure functions of binned scores.

    level    Mₜ = max over windows w of: mean of the scores in (t·(1 − w), t] − z · its standard error
    best     Bₜ = max over s ≤ t of Mₛ;  gain Gₜ = Bₜ − first level
    rise     Rₜ = first step at which the best had reached first level + (1 − δ)·Gₜ
    arrival  Aₜ = first step since which the scores, until Rₜ, average at least first level + (1 − δ/2)·Gₜ

The windows are shares of the run so far, so the same holds for tasks of 10⁴ and of 10⁸ steps. The lower confidence
bound makes a slow rise visible in long windows and a lucky maximum invisible in short ones; δ leaves out small gains.
A bound reaches a level late, as its windows still hold the way up; the arrival is what they were waiting to be sure of.
The arrival at a known target is the first step since which the scores average at least that, within their error.
The noise is that of successive differences. Where a trend is steep from one evaluation to the next, as it is where
there are few because each takes long, it is that of second differences, which leave it out. Sources: von Neumann,
"Distribution of the ratio of the mean square successive difference to the variance" (1941); Gasser, Sroka and
Jennen-Steinmetz, "Residual variance and residual pattern in nonlinear regression" (1986).
"""

import math
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.decisions.score_curve import Bins, ScoreCurve
from tensor_optix.core.decisions.trend import rounding_of

LEVEL_WINDOWS = (0.05, 0.1, 0.2, 0.35)
"""w: lengths of a level, as shares of the steps so far."""
LEVEL_ERRORS = 3.0
"""z: standard errors that a level is lowered by."""
LEVEL_SCORES = 3
"""Bins of a level at least, and scores of the first level."""
STEEP = 0.1
"""Share of the squared successive differences below which the second ones say that they are a trend."""
REST = 0.08
"""δ: share of the gain that is left out when the step of the rise is looked up."""
SLOPE_SPAN, SLOPE_ERRORS = 1.25, 2.0
"""The slope is that of the steps from t / span to t; its upper bound is so many standard errors above it."""


@dataclass(frozen=True, kw_only=True)
class CurveStatistics:
    """What the rule knows of a curve; scores in their own units."""

    steps: float
    """t: environment steps so far."""
    rise_steps: float
    """Rₜ: when the last rise worth waiting for was certain."""
    arrival_steps: float
    """Aₜ: when the scores had got there."""
    quiet_evaluations: int
    """Evaluations since the arrival."""
    best: float
    """Bₜ."""
    gain: float
    """Gₜ, at least 0; 0 where it is only rounding."""
    level: float
    """Mean score since the arrival."""
    level_error: float
    """Its standard error."""
    first_deviation: float
    """σ₁: standard deviation of one return at the start."""
    deviation: float
    """σ: that of one return at present."""
    best_deviation: float
    """That of one return where the best level was reached."""
    slope_bound: float
    """Upper bound of the slope of the last fifth, per unit of ln t; infinite where there are too few scores."""
    episodes: float | None
    """n: training episodes; None = unknown."""
    target_steps: float | None = None
    """When the scores had got to a target, at which they average since; None where they do not, or without one."""
    target_evaluations: int = 0
    """Evaluations since then."""

    @property
    def noise(self) -> float:
        """Standard deviation of one return, at present or where the best level was reached: the larger."""
        return max(self.deviation, self.best_deviation)


def statistics_of(curve: ScoreCurve, episodes_per_evaluation: int = 5, target: float | None = None) -> CurveStatistics:
    """Return what the rule knows of a curve of at least one evaluation; O(`MAX_BINS`).

    Args:
        curve: the evaluations so far.
        episodes_per_evaluation: episodes behind one score.
        target: score that is known to be enough; None = none is.
    """
    bins = curve.bins()
    first = curve.first_level(LEVEL_SCORES)
    level = levels(bins)
    best = np.maximum.accumulate(level)
    gain = float(best[-1]) - first
    gain = gain if gain > rounding_of(float(best[-1]), first) else 0.0
    rise = int(np.argmax(best >= first + (1.0 - REST) * gain)) if gain > 0.0 else 0
    arrival = _arrival(bins, rise, first + (1.0 - REST / 2.0) * gain)
    since = float(bins.counts[arrival:].sum())
    to_return = math.sqrt(episodes_per_evaluation)
    deviation = _deviation_at(bins, len(level) - 1)
    there = None if target is None else _arrival_at_target(bins, target, deviation)
    return CurveStatistics(
        steps=float(bins.steps[-1]),
        rise_steps=float(bins.steps[rise]),
        arrival_steps=float(bins.steps[arrival]),
        quiet_evaluations=int(bins.counts[arrival + 1 :].sum()),
        best=float(best[-1]),
        gain=gain,
        level=float(bins.scores[arrival:] @ bins.counts[arrival:]) / since,
        level_error=deviation / math.sqrt(since),
        first_deviation=to_return * curve.first_deviation(),
        deviation=to_return * deviation,
        best_deviation=to_return * _deviation_at(bins, int(np.argmax(level))),
        slope_bound=slope_bound(bins),
        episodes=curve.episodes,
        target_steps=None if there is None else float(bins.steps[there]),
        target_evaluations=0 if there is None else int(bins.counts[there + 1 :].sum()),
    )


def levels(bins: Bins) -> np.ndarray:
    """Return (B,) at each bin the highest lower bound of a mean over the windows that end there: Mₜ."""
    sums = [_cumulative(x) for x in (bins.counts, bins.scores * bins.counts, _known(bins) * bins.counts)]
    firsts = _cumulative(np.concatenate([[0.0], np.diff(bins.scores) ** 2 / 2.0]))
    seconds = _cumulative(np.concatenate([[0.0, 0.0], np.diff(bins.scores, 2) ** 2 / 6.0])[: len(bins.scores)])
    end = np.arange(len(bins.steps))
    highest = np.full(len(end), -np.inf)
    for window in LEVEL_WINDOWS:
        start = np.searchsorted(bins.steps, (1.0 - window) * bins.steps, side="right")
        start = np.minimum(start, np.maximum(end - LEVEL_SCORES + 1, 0))
        n, total, variance = (x[end + 1] - x[start] for x in sums)
        # Differences of at least 7 neighbours: fewer say nothing about the noise.
        since = np.maximum(np.minimum(start, end - 7), 0)
        between = (firsts[end + 1] - firsts[np.minimum(since + 1, end + 1)]) / np.maximum(end - since, 1)
        bent = (seconds[end + 1] - seconds[np.minimum(since + 2, end + 1)]) / np.maximum(end - since - 1, 1)
        between = np.where((end - since >= 7) & (bent < STEEP * between), bent, between)
        error = np.sqrt(np.maximum(between / (end - start + 1), variance / n**2))
        highest = np.maximum(highest, total / n - LEVEL_ERRORS * error)
    return highest


def _arrival(bins: Bins, rise: int, asked: float) -> int:
    """Return the first bin since which the scores average at least `asked`, up to `rise`; `rise` if there is none."""
    counts, scores = bins.counts[rise::-1], bins.scores[rise::-1]
    held = np.flatnonzero(np.cumsum(counts * scores) / np.cumsum(counts) >= asked)
    return rise - int(held[-1]) if held.size else rise


def _arrival_at_target(bins: Bins, target: float, deviation: float) -> int | None:
    """Return the first bin since which the scores average at least a target, within their standard error, until now."""
    counts, scores = bins.counts[::-1], bins.scores[::-1]
    n = np.cumsum(counts)
    held = np.flatnonzero((np.cumsum(counts * scores) / n + deviation / np.sqrt(n) >= target) & (n >= LEVEL_SCORES))
    return len(counts) - 1 - int(held[-1]) if held.size else None


def slope_bound(bins: Bins) -> float:
    """Return the upper bound of the slope of the last fifth of the steps, per unit of ln t.

    Weighted least squares of the bins' scores on ln t, plus `SLOPE_ERRORS` standard errors; the error is that of the
    residuals, inflated by (1 + ρ)/(1 − ρ) for their lag-1 autocorrelation ρ, at least the known errors'.
    """
    recent = bins.steps >= bins.steps[-1] / SLOPE_SPAN
    n = int(recent.sum())
    if n < 6:
        return math.inf
    x, y, weight = np.log(bins.steps[recent]), bins.scores[recent], bins.counts[recent]
    x = x - np.average(x, weights=weight)
    y = y - np.average(y, weights=weight)
    spread = float(weight @ (x * x))
    slope = float(weight @ (x * y)) / spread
    rest = y - slope * x
    square = float(rest @ rest)
    correlation = min(max(float(rest[1:] @ rest[:-1]) / square, 0.0), 0.9) if square > 0.0 else 0.0
    variance = float(weight @ (rest * rest)) / (n - 2) / spread * (1.0 + correlation) / (1.0 - correlation)
    known = float(_known(bins)[recent].mean()) / spread
    return slope + SLOPE_ERRORS * math.sqrt(max(variance, known))


def _deviation_at(bins: Bins, end: int) -> float:
    """Return the standard deviation of one score over the last tenth of the steps until bin `end`."""
    before = int(np.count_nonzero(bins.steps <= 0.9 * bins.steps[end]))
    since = min(before, max(end + 1 - LEVEL_SCORES, 0))
    counts, variances = bins.counts[since : end + 1], bins.variances[since : end + 1]
    is_known = np.isfinite(variances)
    n = float(counts[is_known].sum())
    if n > 0.0:
        return math.sqrt(float(counts[is_known] @ variances[is_known]) / n)
    differences = np.diff(bins.scores[max(0, min(since, end - 7)) : end + 1])
    return float(np.sqrt(np.mean(differences**2) / 2.0 * bins.counts[0])) if differences.size else 0.0


def _known(bins: Bins) -> np.ndarray:
    return np.where(np.isfinite(bins.variances), bins.variances, 0.0)


def _cumulative(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values)])
