"""What to do when the loop is DORMANT: spawn, prune, stop, or nothing. Pure decisions from history."""

import enum
from collections.abc import Mapping, Sequence

import numpy as np

from tensor_optix.core.decisions.trend import MIN_POINTS, recent, slope, train_scores
from tensor_optix.core.types import EvalMetrics
from tensor_optix.support.arguments import check_count, check_threshold

_EPSILON = 1e-8
_SMALL = 0.5
"""Share of the mean size of the scores."""


class MetaAction(enum.Enum):
    """What evolution does on one DORMANT event."""

    SPAWN = "spawn"
    """Let a mutated variant of the best policy try."""
    PRUNE = "prune"
    """Remove the weakest member."""
    STOP = "stop"
    """End the run."""
    NO_OP = "no_op"
    """Leave everything as it is."""


class MetaController:
    """Decides by rules, the first that applies:

        budget exhausted                                                STOP
        fewer than 3 evaluations                                        NO_OP
        mean gap > gap_threshold,  gapₜ = (trainₜ − valₜ)/|valₜ|          PRUNE   (it overfits)
        slope(gap₀ … gapₙ) > gap_slope_threshold                        PRUNE   (it is about to)
        slope(val)/|mean(val)| < improvement_threshold                  SPAWN   (a plateau)
        otherwise                                                       NO_OP   (it still learns)

    A |val| below half the mean |val| of the evaluations that are looked at (where all are 0: half the mean |train|) is
    taken for that: a score that is 0 by chance says nothing of the size of a gap. Where the evaluator prefers lower
    scores, all of it holds for their negatives.

    Args:
        gap_threshold: generalization gap that is tolerated, as a share of the validation score.
        gap_slope_threshold: growth of that share per evaluation that is tolerated.
        improvement_threshold: growth of the validation score per evaluation, as a share of it, that counts as learning.
        window: how many of the newest evaluations are looked at; at least 3.

    Raises:
        InvalidArgumentError: a threshold that is not a number, or a window below 3.
    """

    def __init__(
        self,
        gap_threshold: float = 0.2,
        gap_slope_threshold: float = 0.02,
        improvement_threshold: float = 0.01,
        window: int = 10,
    ) -> None:
        thresholds = {
            "gap_threshold": gap_threshold,
            "gap_slope_threshold": gap_slope_threshold,
            "improvement_threshold": improvement_threshold,
        }
        for name, value in thresholds.items():
            check_threshold(name, value)
        check_count("window", window, MIN_POINTS)
        self._gap_threshold = gap_threshold
        self._gap_slope_threshold = gap_slope_threshold
        self._improvement_threshold = improvement_threshold
        self._window = window

    def decide(self, history: Sequence[EvalMetrics], pm_status: Mapping[str, object]) -> MetaAction:
        """Return what to do now.

        Args:
            history: evaluations in the order of time; those that are no evidence are left out.
            pm_status: `PolicyManager.status()`; only `budget_exhausted` is looked at.
        """
        if pm_status.get("budget_exhausted", False):
            return MetaAction.STOP
        newest = recent(history, self._window)
        if len(newest) < MIN_POINTS:
            return MetaAction.NO_OP
        scores = np.array([metrics.utility for metrics in newest])
        gaps = relative_gaps(newest)
        if gaps.mean() > self._gap_threshold or slope(gaps) > self._gap_slope_threshold:
            return MetaAction.PRUNE
        growth = slope(scores) / (max(abs(float(scores.mean())), _least_size(newest)) + _EPSILON)
        return MetaAction.SPAWN if growth < self._improvement_threshold else MetaAction.NO_OP


def relative_gaps(history: Sequence[EvalMetrics]) -> np.ndarray:
    """Return `(trainₜ − valₜ)/|valₜ|` per evaluation, 0 where nothing was held out; for a small |val| see the class."""
    scores = np.array([metrics.utility for metrics in history], np.float64)
    return (train_scores(history) - scores) / (np.maximum(np.abs(scores), _least_size(history)) + _EPSILON)


def _least_size(history: Sequence[EvalMetrics]) -> float:
    """Return the size below which a score is no measure, see the class."""
    scores = [metrics.utility for metrics in history]
    sizes = np.abs(scores if any(scores) else train_scores(history))
    return _SMALL * float(sizes.mean()) if sizes.size else 0.0
