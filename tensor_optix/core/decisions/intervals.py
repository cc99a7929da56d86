"""How far the mean return of a policy may lie from the mean of the few episodes that it was tested on. Pure functions.

One method, for every score that is shown: a Bayesian bootstrap in which the returns are joined by one that was never
seen. n equal returns are therefore never certain: the unseen one may have a probability of up to about 1 − 0.05^(1/n).

Sources: "The Bayesian Bootstrap", Rubin, 1981; "Three test statistics for a nonparametric one-sided hypothesis on the
mean of a nonnegative variable", Gaffke, 2005; "A New Confidence Interval for the Mean of a Bounded Random Variable",
Learned-Miller and Thomas, 2019, https://arxiv.org/abs/1905.06208. They give the unseen return a weight of 1, which for
successes and failures is the interval of Clopper and Pearson. Here it has `UNSEEN_WEIGHT`, close to the mid-p interval:
narrower, and calibrated by `python -m benchmarks intervals`.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.numbers import crossing, finite_or_zero

METHOD = "bounded Bayesian bootstrap"
"""Name of the method in reports, JSON and documentation."""
LEVEL = 0.95
"""Nominal coverage."""
UNSEEN_WEIGHT = 0.75
"""Dirichlet weight of the unseen return; each return that was seen has 1. The smallest multiple of 1/4 with which the
coverage of a success rate stays above 0.93 from 5 to 200 episodes, whatever the rate."""
_MOST_VALUES = 1000
"""Of more distinct returns, neighbours are taken together."""
_GRID_STEP, _GRID_START, _GRID_END = 0.125, -16.0, 26.0
"""Points of the integral, in the logarithm of the frequency."""
_PRECISION = 2.0**-36
"""Of an end of the interval, as a share of what it lies between."""
_FAR = 8.0
"""Standard deviations."""
_LARGEST = 1e150
"""Its square is a finite number."""

Span: TypeAlias = tuple[float, float]
"""Lowest and highest return that is thought possible."""


@dataclass(frozen=True, kw_only=True)
class ScoreInterval:
    """Where the mean return of a policy lies, as far as its episodes tell."""

    low: float
    high: float
    level: float
    """Nominal coverage, such as 0.95."""
    method: str
    """How it was made: `METHOD`."""
    episodes: int
    """Episodes behind it."""

    def text(self, digits: int = 2) -> str:
        """Return `[low, high]`, with more decimals than `digits` where it would look as if it had no width.

        Args:
            digits: decimals.
        """
        width = self.high - self.low
        needed = math.ceil(1.0 - math.log10(width)) if 0.0 < width < 1.0 else 0
        digits = max(digits, min(needed, 12))
        return f"[{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def std_err(self, found: float) -> float:
        """Return the standard error of the mean, never 0 where the interval has a width.

        A few equal returns have a deviation of 0, which does not say that the next one is equal. The error is then that
        of a normal distribution with an interval as wide: (high − low) / 2z, z = 1.96 at a level of 0.95.

        Args:
            found: the standard error of the returns; NaN = unknown, and stays so.
        """
        return (
            found if found != 0.0 else (self.high - self.low) / (2.0 * NormalDist().inv_cdf((1.0 + self.level) / 2.0))
        )


def mean_interval(returns: Sequence[float], span: Span | None = None, level: float = LEVEL) -> ScoreInterval:
    """Return the interval of the mean of a policy's returns.

        M(a) = W₀·a + Σ Wᵢ·Gᵢ,    (W₀, W₁, …, Wₙ) ~ Dirichlet(0.75, 1, …, 1)
        low  = (1 − level)/2 quantile of M(span low),    high = (1 + level)/2 quantile of M(span high)

    It always holds the mean of the returns. Without a span, or with one of no width, nothing is known of what can
    happen besides what did: the unseen return lies one range of the returns beyond them then, or, where all are equal,
    their size away (1 where they are 0).

    Args:
        returns: (n,) Gᵢ, the undiscounted return of each episode.
        span: lowest and highest return that the run has seen; returns beyond it widen it.
        level: nominal coverage, in (0, 1).

    Raises:
        InvalidArgumentError: no returns, some that are not finite, or a level out of its range.
    """
    values = np.asarray(returns, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InvalidArgumentError(f"returns must be one or more finite numbers, but got {returns!r}.")
    if not 0.0 < level < 1.0:
        raise InvalidArgumentError(f"level must be in (0, 1), but got {level!r}. Use {LEVEL}.")
    values = np.clip(values, -_LARGEST, _LARGEST)
    low, high = _widened(values, span)
    distinct, counts = _grouped(values)
    found = tuple(distinct.tolist()), tuple(counts.tolist())
    tail = (1.0 - level) / 2.0
    return ScoreInterval(
        low=_lower_end(*found, low, tail),
        high=-_lower_end(tuple(-value for value in found[0]), found[1], -high, tail),
        level=level,
        method=METHOD,
        episodes=values.size,
    )


def summary_interval(
    mean: float, std_err: float, episodes: int, span: Span | None = None, level: float = LEVEL
) -> ScoreInterval:
    """Return the interval where only the mean and its error are known, as for the episodes of a training window.

    It is that of returns which lie symmetrically, half of them std·√((n − 1)/n) above the mean and half below.

    Args:
        mean: mean return.
        std_err: standard error of the mean; NaN counts as 0.
        episodes: n, the number of episodes.
        span: lowest and highest return that the run has seen.
        level: nominal coverage, in (0, 1).

    Raises:
        InvalidArgumentError: a mean that is not finite, no episodes, or a level out of its range.
    """
    if episodes < 1:
        raise InvalidArgumentError(f"episodes must be at least 1, but got {episodes!r}.")
    pairs = episodes // 2
    error = finite_or_zero(std_err)
    distance = error * math.sqrt(episodes * (episodes - 1) / (2 * pairs)) if pairs else 0.0
    returns = [mean - distance, mean + distance] * pairs + [mean] * (episodes % 2)
    return mean_interval(returns, span, level)


def score_interval(
    score: float,
    std_err: float,
    episodes: float,
    returns: Sequence[float] = (),
    span: Span | None = None,
) -> ScoreInterval | None:
    """Return the interval of a score, from the returns behind it where it is their mean, else from its error.

    Args:
        score: the score.
        std_err: its standard error; NaN where it is not known.
        episodes: episodes behind it; NaN where that is not known.
        returns: the return of each, or nothing.
        span: lowest and highest return that the run has seen.

    Returns:
        None where too little is known: no score, no number of episodes, or a score that is no mean of returns and has
        no error.
    """
    if not math.isfinite(score):
        return None
    if len(returns) and math.isclose(float(np.mean(returns)), score, rel_tol=1e-9, abs_tol=1e-9):
        return mean_interval(returns, span)
    if not (math.isfinite(episodes) and episodes >= 1) or (episodes > 1 and not math.isfinite(std_err)):
        return None
    return summary_interval(score, std_err, int(episodes), span)


def span_of(values: Iterable[float]) -> Span | None:
    """Return the lowest and the highest of the finite values; None where there are none.

    Args:
        values: returns or scores that the run has seen.
    """
    low, high = math.inf, -math.inf
    for value in filter(math.isfinite, values):
        low, high = min(low, value), max(high, value)
    return (low, high) if low <= high else None


def mean_probability(
    values: np.ndarray, counts: np.ndarray, unseen: np.ndarray | float, mean: np.ndarray | float
) -> np.ndarray:
    """Return P(M ≤ mean) for the Dirichlet-weighted mean M of the values and one unseen return.

    Further than 8 standard deviations of M from its mean it is 0 or 1, which Cantelli's inequality puts within 0.016.

    M ≤ m exactly where Σ λᵢ·Γᵢ ≤ 0 with λᵢ = xᵢ − m and independent gamma variables Γᵢ of shapes kᵢ, and

        P = 1/2 − 1/π ∫₀^∞ sin(Σ kᵢ·atan(λᵢu)) / Π (1 + λᵢ²u²)^(kᵢ/2) du/u

    Source: "Computing the Distribution of Quadratic Forms in Normal Variables", Imhof, 1961. The rule of equal steps in
    log u agrees with simulation and, for two values, with the beta distribution.

    Args:
        values: (..., v) xᵢ.
        counts: (v,) kᵢ, how often each was seen.
        unseen: (...) the unseen return; its k is `UNSEEN_WEIGHT`.
        mean: (...) m.
    """
    values = np.asarray(values, np.float64)
    weights = np.append(np.asarray(counts, np.float64), UNSEEN_WEIGHT)
    points = np.concatenate([values, np.broadcast_to(np.asarray(unseen), values.shape[:-1])[..., None]], axis=-1)
    asked = np.broadcast_to(np.asarray(mean, np.float64), values.shape[:-1])
    center, deviation = _moments(points, weights)
    distances = points - asked[..., None]
    largest = np.abs(distances).max(axis=-1, keepdims=True)
    distances = distances / np.where(largest > 0.0, largest, 1.0)
    steps = np.exp(np.arange(_GRID_START - math.log(weights.sum()), _GRID_END, _GRID_STEP))
    angle = np.zeros((*values.shape[:-1], steps.size))
    damping = np.zeros_like(angle)
    for i, weight in enumerate(weights):
        product = distances[..., i, None] * steps
        angle += weight * np.arctan(product)
        damping -= 0.5 * weight * np.log1p(product * product)
    probability = 0.5 - (np.sin(angle) * np.exp(damping)).sum(axis=-1) * _GRID_STEP / math.pi
    is_far = np.abs(asked - center) > _FAR * deviation  # where the integrand turns faster than the grid follows
    return np.where(is_far, asked > center, np.clip(probability, 0.0, 1.0))


def _moments(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of the Dirichlet-weighted mean of the points (..., v)."""
    total = weights.sum()
    center = points @ weights / total
    variance = (points - center[..., None]) ** 2 @ weights / total / (total + 1.0)
    return center, np.sqrt(variance)


@functools.lru_cache(maxsize=256)  # the live view asks for the same ones several times a second
def _lower_end(values: tuple[float, ...], counts: tuple[int, ...], unseen: float, tail: float) -> float:
    """Return the `tail` quantile of M, at most the mean of the values."""
    xs, ks = np.array(values), np.array(counts)
    low, high = unseen, float(xs @ ks / ks.sum())
    return crossing(lambda mean: float(mean_probability(xs, ks, unseen, mean)) - tail, low, high, _PRECISION)


def _widened(values: np.ndarray, span: Span | None) -> Span:
    """Return the span with the values in it; a wider one where it says nothing."""
    lowest, highest = float(values.min()), float(values.max())
    if span is not None and all(map(math.isfinite, span)):
        low, high = max(min(lowest, *span), -_LARGEST), min(max(highest, *span), _LARGEST)
        if low < high:
            return low, high
    reach = (highest - lowest) or abs(highest) or 1.0
    return lowest - reach, highest + reach


def _grouped(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values with their counts, neighbours taken together where there are many."""
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size <= _MOST_VALUES:
        return distinct, counts
    groups = np.array_split(np.sort(values), _MOST_VALUES)
    return np.array([group.mean() for group in groups]), np.array([group.size for group in groups])
