"""Statistics of scores, and the one definition of "better". Pure functions."""

import enum
import math
from collections.abc import Sequence

import numpy as np

from tensor_optix.core.types import EvalMetrics


class Verdict(enum.Enum):
    """What one evaluation says."""

    IMPROVED = "improved"
    FLAT = "flat"
    DEGRADED = "degraded"
    NO_EVIDENCE = "no_evidence"


def is_improvement(candidate: float, reference: float | None, margin: float = 0.0) -> bool:
    """Return True if `candidate` beats `reference` by more than `margin` (additive, so that negative scores work).

    No reference, or one that is not a number, is beaten by any finite score; a score that is not finite beats nothing.
    """
    if not math.isfinite(candidate):
        return False
    if reference is None or not math.isfinite(reference):
        return True
    return candidate > reference + margin


def degradation_drop(best: float, degradation_threshold: float, min_degradation_drop: float) -> float:
    """Return how far below `best` a score may fall: `max(|best|·(1 − degradation_threshold), min_degradation_drop)`."""
    return max(abs(best) * (1.0 - degradation_threshold), min_degradation_drop)


def judge(
    metrics: EvalMetrics,
    best_score: float | None,
    *,
    improvement_margin: float = 0.0,
    degradation_threshold: float = 0.95,
    min_degradation_drop: float = 0.0,
    is_probing: bool = False,
) -> Verdict:
    """Say what an evaluation means beside the best score so far.

    Args:
        metrics: the evaluation.
        best_score: score of the best snapshot, None before there is one.
        improvement_margin: by how much the best must be beaten, in units of the score.
        degradation_threshold: share of the best that must be held, in (0, 1].
        min_degradation_drop: smallest drop that counts as degradation, in units of the score.
        is_probing: True if an optimizer's trial value was in force: its dip is not a degradation.
    """
    if not metrics.is_usable:
        return Verdict.NO_EVIDENCE
    score = metrics.primary_score
    if is_improvement(score, best_score, improvement_margin):
        return Verdict.IMPROVED
    if best_score is not None and not is_probing:
        if score < best_score - degradation_drop(best_score, degradation_threshold, min_degradation_drop):
            return Verdict.DEGRADED
    return Verdict.FLAT


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
