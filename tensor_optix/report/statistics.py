"""What several runs say together: robust aggregates with intervals. Pure functions of scores.

    interquartile mean            mean of the middle half of all scores, over runs and environments
    probability of improvement    P(X > Y) + ½·P(X = Y) of one run each, averaged over environments
    performance profile           F(τ) = share of the runs whose score is better than τ

Each has a percentile interval of a stratified bootstrap: the runs of each environment are drawn anew, with replacement,
and so are those of each group. Where an environment has one run, nothing is known of the spread, and no interval given.
Source: Deep Reinforcement Learning at the Edge of the Statistical Precipice (Agarwal et al., 2021), sections 4.1 to
4.3; as there, the interquartile mean is `scipy.stats.trim_mean(scores, 0.25)`.

Shapes: n runs, B bootstrap samples, K points of a curve or a profile. Strata are one array (n,) of scores each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tensor_optix.support.optional import require

SAMPLES = 2000
"""B of an aggregate."""
CURVE_SAMPLES = 500
"""B of a curve, which is drawn and not read to digits."""
LEVEL = 0.95
"""Of all intervals."""
CUT = 0.25
"""Share of the scores that the interquartile mean leaves out at each end."""
Strata: TypeAlias = Sequence[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float | None
    """None where too few runs tell nothing of the spread."""
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Band:
    """A curve with its band; (K,) each."""

    values: np.ndarray
    low: np.ndarray | None
    """None where one run tells nothing of the spread."""
    high: np.ndarray | None


def trimmed_mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the interquartile mean along an axis; of up to three scores it is their mean.

    Raises:
        MissingDependencyError: scipy is not installed; the message has the install line.
    """
    return np.asarray(require("scipy.stats", "a comparison", "compare").trim_mean(scores, CUT, axis=axis))


def interquartile_mean(strata: Strata, rng: np.random.Generator) -> Estimate:
    """Return the interquartile mean of all scores.

    Args:
        strata: the scores of the runs of each environment.
        rng: draws the bootstrap samples.
    """
    value = float(trimmed_mean(np.concatenate(strata)))
    if not _have_spread(strata):
        return Estimate(value=value, low=None, high=None)
    drawn = np.concatenate([rng.choice(scores, (SAMPLES, len(scores))) for scores in strata], axis=1)
    return _estimate(value, trimmed_mean(drawn))


def probability_of_improvement(better: Strata, worse: Strata, rng: np.random.Generator) -> Estimate:
    """Return the probability that a run of one group beats one of another.

    Args:
        better: the scores of the one in each environment, higher ones being better.
        worse: those of the other, in the same environments.
        rng: draws the bootstrap samples.
    """
    wins = [0.5 * ((x[:, None] > y).astype(float) + (x[:, None] >= y)) for x, y in zip(better, worse, strict=True)]
    value = float(np.mean([one.mean() for one in wins]))
    if not _have_spread([*better, *worse]):
        return Estimate(value=value, low=None, high=None)
    # A sample is how often each run is in it: a mean over its pairs is then a product with the wins.
    samples = [
        np.einsum("bi,ij,bj->b", _weights(len(w), rng), w, _weights(w.shape[1], rng), optimize=True) for w in wins
    ]
    return _estimate(value, np.mean(samples, axis=0))


def performance_profile(strata: Strata, thresholds: np.ndarray, rng: np.random.Generator) -> Band:
    """Return the share of the runs whose score is above each threshold.

    Args:
        strata: the scores of the runs of each environment, higher ones being better.
        thresholds: (K,) τ.
        rng: draws the bootstrap samples.
    """
    runs = sum(map(len, strata))
    above = [(scores[:, None] > thresholds).astype(float) for scores in strata]
    values = np.concatenate(above).mean(axis=0)
    if not _have_spread(strata):
        return Band(values=values, low=None, high=None)
    drawn = sum(_weights(len(one), rng) @ one * (len(one) / runs) for one in above)
    low, high = _percentiles(np.asarray(drawn))
    return Band(values=values, low=low, high=high)


def curve_band(curves: np.ndarray, rng: np.random.Generator) -> Band:
    """Return the interquartile mean of curves at each point.

    Args:
        curves: (n, K), one row a run.
        rng: draws the bootstrap samples.
    """
    values = trimmed_mean(curves, axis=0)
    if len(curves) < 2:
        return Band(values=values, low=None, high=None)
    drawn = [trimmed_mean(curves[rng.integers(len(curves), size=len(curves))], axis=0) for _ in range(CURVE_SAMPLES)]
    low, high = _percentiles(np.stack(drawn))
    return Band(values=values, low=low, high=high)


def _have_spread(strata: Strata) -> bool:
    return all(len(scores) > 1 for scores in strata)


def _weights(runs: int, rng: np.random.Generator) -> np.ndarray:
    """Return (B, n) the share of each run in each bootstrap sample of n runs."""
    return rng.multinomial(runs, np.full(runs, 1.0 / runs), size=SAMPLES) / runs


def _percentiles(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(samples, [tail, 1.0 - tail], axis=0)
    return low, high


def _estimate(value: float, samples: np.ndarray) -> Estimate:
    low, high = _percentiles(samples)
    return Estimate(value=value, low=float(low), high=float(high))
