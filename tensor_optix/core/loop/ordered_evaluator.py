"""An evaluator with a `compare` or a `score_validation` of its own, as the loop asks it."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tensor_optix.core.base_evaluator import BaseEvaluator, ScoresActions, own_compare
from tensor_optix.core.decisions.preference import Preference, preference_of
from tensor_optix.core.storage.policy_state import Stateful
from tensor_optix.core.types import Action, Diagnostics, EpisodeData, EvalMetrics
from tensor_optix.support.signatures import required

logger = logging.getLogger(__name__)


class OrderedEvaluator(BaseEvaluator):
    """Another evaluator, whose metrics say which score is better, so that whatever is decided on them follows it.

    What `compare` goes by is found out with the first usable evaluation, see `decisions.preference`.

    Args:
        evaluator: the user's.
    """

    def __init__(self, evaluator: BaseEvaluator) -> None:
        self.evaluator = evaluator
        self._compare = own_compare(evaluator)
        self._preference: Preference | None = None
        self._validates = _as_window_alone(evaluator.score_validation)
        # Capabilities are told by attributes, and these are the user's.
        if isinstance(evaluator, ScoresActions):
            self.score_actions = self._score_actions
        if isinstance(evaluator, Stateful):
            self.state_dict, self.load_state_dict = evaluator.state_dict, evaluator.load_state_dict

    def score(self, episode_data: EpisodeData, train_diagnostics: Diagnostics) -> EvalMetrics:
        """Score a window."""
        return self._marked(self.evaluator.score(episode_data, train_diagnostics))

    def score_validation(self, episode_data: EpisodeData, train_diagnostics: Diagnostics | None = None) -> EvalMetrics:
        """Score a held-out window."""
        return self._marked(self._validates(episode_data))

    def combine(self, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
        """Put two scores together."""
        return self._marked(self.evaluator.combine(train_metrics, val_metrics))

    def beats(self, candidate: EvalMetrics, reference: EvalMetrics | None, margin: float = 0.0) -> bool:
        """Compare two scores."""
        return self.evaluator.beats(candidate, reference, margin)

    def _score_actions(self, episode_data: EpisodeData, actions: Action) -> EvalMetrics:
        scores: Any = self.evaluator
        return self._marked(scores.score_actions(episode_data, actions))

    def _marked(self, metrics: EvalMetrics) -> EvalMetrics:
        if self._compare is None or not isinstance(metrics, EvalMetrics) or not metrics.is_usable:
            return metrics
        if self._preference is None:
            try:
                self._preference = preference_of(self._compare, metrics)
            except (KeyError, AttributeError, TypeError):
                return metrics  # it may need what only a later evaluation has, as that of validation
            self._tell(self._preference)
        if self._preference is Preference.OWN:
            return replace(metrics, grade=0.0 if metrics.grade is None else metrics.grade)
        return replace(metrics, lower_is_better=self._preference is Preference.LOWER)

    def _tell(self, preference: Preference) -> None:
        name = type(self.evaluator).__name__
        if preference is Preference.LOWER:
            logger.info("%s.compare prefers lower scores: the lowest is the best.", name)
        elif preference is Preference.OWN:
            logger.info(
                "%s.compare does not go by the score alone. The best is the one that it prefers, and a new best is the "
                "only rise; the score itself decides nothing, and neither does improvement_margin.",
                name,
            )


def ordered(evaluator: BaseEvaluator) -> BaseEvaluator:
    """Return an evaluator as the loop asks it: the same, unless it has a `compare` or `score_validation` of its own.

    Args:
        evaluator: the user's.
    """
    scores_alike = getattr(evaluator.score_validation, "__func__", None) is BaseEvaluator.score_validation
    is_plain = scores_alike and own_compare(evaluator) is None
    return evaluator if is_plain or isinstance(evaluator, OrderedEvaluator) else OrderedEvaluator(evaluator)


def name_of(evaluator: BaseEvaluator) -> str:
    """Return the name of the user's class.

    Args:
        evaluator: the user's, or what `ordered` made of it.
    """
    return type(evaluator.evaluator if isinstance(evaluator, OrderedEvaluator) else evaluator).__name__


def who_scored(evaluator: BaseEvaluator, metrics: EvalMetrics) -> str:
    """Return the method that a score comes from, and what it scored.

    Args:
        evaluator: the user's, or what `ordered` made of it.
        metrics: what it gave.
    """
    name, held_out = name_of(evaluator), metrics.metrics.get("val_score")
    if held_out is None:
        return f"{name}.score"
    same = math.isfinite(held_out) == metrics.is_usable
    return f"{name}.score of held-out episodes" if same else f"{name}.combine"


def _as_window_alone(score: Callable[..., EvalMetrics]) -> Callable[[EpisodeData], EvalMetrics]:
    """Return a `score_validation` that takes the window alone, whether it wants diagnostics, too, or not."""
    return score if required(score) <= 1 else lambda window: score(window, {})
