"""The contract of an evaluator: it turns a window into a score."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from tensor_optix.core.decisions import preference
from tensor_optix.core.decisions.trend import is_improvement
from tensor_optix.core.types import Action, Diagnostics, EpisodeData, EvalMetrics


class BaseEvaluator(ABC):
    """Scores windows, and says which of two evaluations is better: the one with the higher score, by default.

    `compare` is the one definition of better, for the best, its tests, rollback, evolution, tuning and stopping:
    nothing becomes the best that it does not prefer. One that prefers lower scores, and any other one, is found out
    with the first evaluation (`decisions.preference`).
    """

    @abstractmethod
    def score(self, episode_data: EpisodeData, train_diagnostics: Diagnostics) -> EvalMetrics:
        """Score one window, given what `learn` said of it (empty for a validation window)."""

    def score_validation(self, episode_data: EpisodeData, train_diagnostics: Diagnostics | None = None) -> EvalMetrics:
        """Score one held-out window, of validation or of a test; as `score` does, unless it is overridden.

        An override may take the window alone.
        """
        return self.score(episode_data, dict(train_diagnostics or {}))

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
        """Return True if `candidate` is better than `reference`; override it for another order than the higher score.

        Held-out values are in `metrics` by their plain names and by their `val_` names.
        """
        return is_improvement(candidate.primary_score, reference.primary_score)

    def beats(self, candidate: EvalMetrics, reference: EvalMetrics | None, margin: float = 0.0) -> bool:
        """Return what the loop asks for: whether `compare` prefers a candidate, and by more than a margin of the score.

        It is not to be overridden.
        """
        return preference.beats(own_compare(self), candidate, reference, margin)


def own_compare(evaluator: BaseEvaluator) -> preference.Compare | None:
    """Return an evaluator's `compare`, of its class or set on the object; None where it is the usual one."""
    is_usual = getattr(evaluator.compare, "__func__", None) is BaseEvaluator.compare
    return None if is_usual else evaluator.compare


@runtime_checkable
class ScoresActions(Protocol):
    """An evaluator that can tell what a window would have scored with other actions than those that were taken.

    So it is where actions change nothing of what is observed, as those of a small trader in a market. Two policies are
    then compared on the very same windows, and the one on trial acts nowhere.
    """

    def score_actions(self, episode_data: EpisodeData, actions: Action) -> EvalMetrics:
        """Score a window as if `actions` (T, ...) had been taken in it, in the policy's own scale."""
        ...
