"""The contract of an evaluator: it turns a window into a score."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from tensor_optix.core.decisions.trend import is_improvement
from tensor_optix.core.types import EpisodeData, EvalMetrics


class BaseEvaluator(ABC):
    """Scores windows; higher is better."""

    @abstractmethod
    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Score one window, given what `learn` said of it (empty for a validation window)."""

    def combine(self, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
        """Join the scores of a training and a validation window into the one that decides.

        The validation score drives every decision; `generalization_gap = train_score − val_score` is surfaced.
        """
        train_score, val_score = train_metrics.primary_score, val_metrics.primary_score
        metrics: Mapping[str, float] = {
            **{f"val_{name}": value for name, value in val_metrics.metrics.items()},
            **train_metrics.metrics,
            "train_score": train_score,
            "val_score": val_score,
            "generalization_gap": train_score - val_score,
            "train_score_std_err": train_metrics.std_err,
            "score_std_err": val_metrics.std_err,
        }
        return dataclasses.replace(
            val_metrics, primary_score=val_score, metrics=metrics, episode_id=train_metrics.episode_id
        )

    def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
        """Return True if `candidate` is better than `reference`, for whoever compares two evaluations.

        The loop itself judges by `trend.is_improvement` on the primary scores, with its margin.
        """
        return is_improvement(candidate.primary_score, reference.primary_score)


@runtime_checkable
class ScoresActions(Protocol):
    """An evaluator that can tell what a window would have scored with other actions than those that were taken.

    So it is where actions change nothing of what is observed, as those of a small trader in a market. Two policies are
    then compared on the very same windows, and the one on trial acts nowhere.
    """

    def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
        """Score a window as if `actions` (T, ...) had been taken in it, in the policy's own scale."""
        ...
