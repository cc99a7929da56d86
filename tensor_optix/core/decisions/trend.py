"""Statistics of scores, and the one definition of "better". Pure functions."""

import enum
import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import ContractError
from tensor_optix.support.numbers import finite_or_zero


class Verdict(enum.Enum):
    """What one evaluation says."""

    IMPROVED = "improved"
    FLAT = "flat"
    DEGRADED = "degraded"
    NO_EVIDENCE = "no_evidence"


ROUNDING = 1e-10
"""Differences up to this share of the larger of two scores are rounding: a mean of floats depends on their order."""


def rounding_of(*scores: Any) -> Any:
    """Return by how much scores may differ because their sums were rounded: `1e-10 · max |s|`, elementwise."""
    if len(scores) == 1:
        return ROUNDING * abs(scores[0])
    return ROUNDING * np.maximum.reduce([np.abs(score) for score in scores])


def is_improvement(candidate: float, reference: float | None, margin: float = 0.0) -> bool:
    """Return True if `candidate` beats `reference` by more than `margin` (additive, so that negative scores work).

    A difference that is only rounding (`rounding_of`) is none. No reference, or one that is not a number, is beaten by
    any finite score; a score that is not finite beats nothing.
    """
    if not math.isfinite(candidate):
        return False
    if reference is None or not math.isfinite(reference):
        return True
    return bool(_exceeds(candidate, reference, margin))


def _exceeds(candidate: Any, reference: Any, margin: Any) -> Any:
    return candidate > reference + margin + rounding_of(candidate, reference)


def degradation_drop(best: float, degradation_threshold: float, min_degradation_drop: float) -> float:
    """Return how far below `best` a score may fall: `max(|best|·(1 − degradation_threshold), min_degradation_drop)`."""
    return max(abs(best) * (1.0 - degradation_threshold), min_degradation_drop)


def judge(
    metrics: EvalMetrics,
    best_score: float | None,
    history: Sequence[EvalMetrics] = (),
    *,
    best_std_err: float = 0.0,
    patience: int = 20,
    improvement_margin: float = 0.0,
    degradation_threshold: float = 0.95,
    min_degradation_drop: float = 0.0,
    is_probing: bool = False,
) -> Verdict:
    """Say what an evaluation means: the scores are rising, or not, or the policy has lost what it could.

    IMPROVED is a matter of the trend (`has_risen`), not of a lucky maximum; which policy is the best is decided by
    `is_improvement` on a re-tested score. DEGRADED needs a drop that is larger than allowed *and* than the noise.
    A grade has no units: one above all before it is IMPROVED, any other FLAT.

    Args:
        metrics: the evaluation.
        best_score: utility of the best snapshot, None before there is one.
        history: the usable evaluations before it, in the order of time.
        best_std_err: its standard error; NaN counts as 0.
        patience: evaluations without improvement until DORMANT; the trend is looked for on that scale.
        improvement_margin: by how much the earlier level must be beaten, in units of the score.
        degradation_threshold: share of the best that must be held, in (0, 1].
        min_degradation_drop: smallest drop that counts as degradation, in units of the score.
        is_probing: True if an optimizer's trial value was in force: its dip is not a degradation.
    """
    if not metrics.is_usable:
        return Verdict.NO_EVIDENCE
    if metrics.grade is not None:
        is_record = all(is_improvement(metrics.utility, earlier.utility) for earlier in history)
        return Verdict.IMPROVED if is_record else Verdict.FLAT
    newest = [*history[-(MOST_EVALUATIONS - 1) :], metrics]
    scores = np.array([m.utility for m in newest])
    noise = noise_of(scores, np.array([m.utility_std_err for m in newest[-NOISE_SCORES:]]))
    if len(newest) == 1:
        improved = is_improvement(metrics.utility, best_score, improvement_margin)
    else:
        improved = bool(has_risen(scores, noise, patience, improvement_margin))
    if improved:
        return Verdict.IMPROVED
    if best_score is not None and math.isfinite(best_score) and not is_probing:
        error = math.hypot(float(noise), finite_or_zero(best_std_err))
        drop = degradation_drop(best_score, degradation_threshold, min_degradation_drop)
        if is_improvement(best_score, metrics.utility, max(drop, DEGRADATION_ERRORS * error)):
            return Verdict.DEGRADED
    return Verdict.FLAT


def all_alike(evaluations: Sequence[EvalMetrics]) -> bool:
    """Return True if every episode behind some evaluations, of training and validation, has the same return.

    A window in which no episode ended says nothing, and a single episode has the return that is its score. Where a
    score has no error, and is not that of one episode, nothing is known of the episodes: they are not called alike.

    Args:
        evaluations: usable ones.
    """
    scores = np.array([score for metrics in evaluations for score in _scores_of_like_episodes(metrics)])
    return bool(np.isfinite(scores).all() and np.ptp(scores) <= rounding_of(*scores)) if scores.size else False


def _scores_of_like_episodes(metrics: EvalMetrics) -> Iterator[float]:
    """Yield the score of validation and that of training where there is one; NaN if its episodes may differ."""
    is_held_out = "train_score" in metrics.metrics
    parts = [(metrics.primary_score, metrics.std_err, "val_episodes" if is_held_out else "episodes")]
    if is_held_out:
        named = metrics.metrics
        parts.append((named["train_score"], named.get("train_score_std_err", math.nan), "episodes"))
    for score, error, counted in parts:
        episodes = metrics.metrics.get(counted, math.nan)
        if episodes != 0.0:
            yield score if error <= rounding_of(score) or (math.isnan(error) and episodes == 1.0) else math.nan


MOST_EVALUATIONS = 200
"""Evaluations that the trend looks back on."""
DEGRADATION_ERRORS = 2.0
"""A drop must be this many standard errors of the difference."""
NOISE_SCORES = 40
"""The noise is that of this many of the newest scores."""
_LEVELS = ((0.0, 0.4, 0.0), (0.2, 0.25, 0.015), (0.4, 0.25, 0.04), (0.8, 0.25, 0.11))
"""Length of a level as a share of the patience, standard errors it must rise by, noise (as a share of the range of the
scores) from which it is looked at. Tuned on simulated curves: `python -m benchmarks calibration`."""


def has_risen(scores: np.ndarray, noise: np.ndarray, patience: int, margin: float = 0.0) -> np.ndarray:
    """Return True where the newest scores stand on a higher level than any before.

        levelₖ(t) = mean(sₜ₋ₖ₊₁ … sₜ)
        risen     = any k:  levelₖ(n) > max over t ≤ n−k of levelₖ(t) + margin + z·noise/√k + rounding

    k is a score by itself and, the noisier the scores, also 0.2, 0.4 and 0.8 of the patience: without noise it is the
    plain maximum, with noise a rise too slow for single scores shows in means. A policy that swings reaches its old
    level again and again, and that is no rise; a slope would call each upswing one.

    Args:
        scores: (..., n) in the order of time.
        noise: (...) standard deviation of one score around its trend.
        patience: evaluations without a rise until DORMANT.
        margin: by how much the earlier level must be beaten, in units of the score.
    """
    n = scores.shape[-1]
    sums = np.concatenate([np.zeros((*scores.shape[:-1], 1)), np.cumsum(scores, axis=-1)], axis=-1)
    extent = np.ptp(scores, axis=-1)
    risen = np.zeros(scores.shape[:-1], bool)
    for share, errors, noisy in _LEVELS:
        k = max(1, round(share * patience))
        if n < 2 * k:
            continue
        levels = scores if k == 1 else (sums[..., k:] - sums[..., :-k]) / k
        highest = levels[..., :-k].max(axis=-1)
        rises = _exceeds(levels[..., -1], highest, margin + errors * noise / math.sqrt(k))
        risen |= rises & (noise >= noisy * extent)
    return risen


def noise_of(scores: np.ndarray, std_errs: np.ndarray | None = None) -> np.ndarray:
    """Return the standard deviation of one score around its trend.

    It is 1.4826/√6 times the median absolute second difference sₜ₊₁ − 2sₜ + sₜ₋₁, in which neither a rise nor its end
    shows, and which outliers do not move; at least the median of the errors that are known. With fewer than 4
    differences it is those errors alone.

    Args:
        scores: (..., n) in the order of time.
        std_errs: (..., n) known standard errors, NaN where there is none; None = nothing is known.
    """
    bends = np.diff(scores[..., -NOISE_SCORES:], n=2, axis=-1)
    noise = np.zeros(scores.shape[:-1])
    if bends.shape[-1] >= 4:
        noise = 1.4826 / math.sqrt(6.0) * _median(np.abs(bends))
    if std_errs is not None:
        known = np.where(np.isfinite(std_errs[..., -NOISE_SCORES:]), std_errs[..., -NOISE_SCORES:], 0.0)
        noise = np.maximum(noise, _median(known))
    return noise


def _median(values: np.ndarray) -> np.ndarray:
    """Return `np.median(values, axis=-1)` of (..., n) numbers, which takes five times as long."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2.0


def slope(scores: Sequence[float] | np.ndarray, steps: Sequence[float] | None = None) -> float:
    """Return the least-squares slope of `scores` per step; 0 for fewer than two.

    slope = Σ (xᵢ − x̄)(sᵢ − s̄) / Σ (xᵢ − x̄)²

    Args:
        scores: sᵢ, in the order of time.
        steps: xᵢ, when each was measured; None = 0, 1, 2, ...
    """
    values = np.asarray(scores, np.float64)
    if values.size < 2:
        return 0.0
    times = np.arange(values.size, dtype=np.float64) if steps is None else np.asarray(steps, np.float64)
    times = times - times.mean()
    return float(times @ (values - values.mean()) / (times @ times))


def recent_scores(history: Sequence[EvalMetrics], window: int) -> np.ndarray:
    """Return the utilities of the newest `window` usable evaluations, in the order of time."""
    return np.array([metrics.utility for metrics in recent(history, window)], np.float64)


def recent(history: Sequence[EvalMetrics], window: int) -> list[EvalMetrics]:
    """Return the newest `window` usable evaluations, in the order of time.

    Raises:
        ContractError: something else than evaluations.
    """
    for metrics in cast(Sequence[object], history):
        if not isinstance(metrics, EvalMetrics):
            raise ContractError(f"history must hold EvalMetrics, but got {metrics!r}. Wrap scores: EvalMetrics(score).")
    return [metrics for metrics in history if metrics.is_usable][-window:]


def train_scores(history: Sequence[EvalMetrics]) -> np.ndarray:
    """Return the utility of each evaluation's training score: its own where nothing was held out, or for a grade."""
    gaps = [0.0 if metrics.grade is not None else metrics.sign * metrics.generalization_gap for metrics in history]
    return np.array([m.utility + (gap if math.isfinite(gap) else 0.0) for m, gap in zip(history, gaps, strict=True)])


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Return `std(x)/√n` with the unbiased variance; NaN for fewer than two values."""
    values = np.asarray(values, np.float64)
    return float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else math.nan


MIN_POINTS = 3
"""Fewer scores have no residuals worth the name."""
