"""What an evaluator of one method has by default: joining two scores, and comparing them."""

import math
from typing import Any

import pytest

from tensor_optix.core.base_evaluator import BaseEvaluator, ScoresActions
from tensor_optix.core.types import EvalMetrics
from tests.helpers import ScoreEvaluator

EVALUATOR = ScoreEvaluator()


def test_an_evaluator_must_score() -> None:
    with pytest.raises(TypeError, match="score"):
        BaseEvaluator()  # type: ignore[abstract]


class TestCombine:
    TRAIN = EvalMetrics(9.0, {"score_std_err": 0.5, "entropy": 1.5, "episodes": 3.0}, episode_id=7)
    HELD_OUT = EvalMetrics(4.0, {"score_std_err": 0.25, "episodes": 5.0}, episode_id=99)

    def test_the_held_out_score_decides_and_the_gap_is_shown(self) -> None:
        joined = EVALUATOR.combine(self.TRAIN, self.HELD_OUT)
        assert joined.primary_score == 4.0
        assert (joined.metrics["train_score"], joined.metrics["val_score"]) == (9.0, 4.0)
        assert joined.generalization_gap == 5.0

    def test_each_error_stays_with_its_score(self) -> None:
        joined = EVALUATOR.combine(self.TRAIN, self.HELD_OUT)
        assert joined.std_err == 0.25
        assert joined.metrics["train_score_std_err"] == 0.5

    def test_the_window_is_that_of_the_training_and_no_metric_is_lost(self) -> None:
        joined = EVALUATOR.combine(self.TRAIN, self.HELD_OUT)
        assert joined.episode_id == 7
        assert (joined.metrics["entropy"], joined.metrics["episodes"], joined.metrics["val_episodes"]) == (
            1.5,
            3.0,
            5.0,
        )

    @pytest.mark.parametrize("has_evidence", [True, False])
    def test_without_held_out_evidence_there_is_none(self, has_evidence: bool) -> None:
        held_out = EvalMetrics(4.0, has_evidence=has_evidence)
        assert EVALUATOR.combine(EvalMetrics(math.nan, has_evidence=False), held_out).has_evidence is has_evidence

    def test_a_training_window_without_an_episode_does_not_change_the_score(self) -> None:
        joined = EVALUATOR.combine(EvalMetrics(math.nan, has_evidence=False), EvalMetrics(4.0))
        assert joined.is_usable
        assert math.isnan(joined.generalization_gap)


@pytest.mark.parametrize(
    ("candidate", "reference", "is_better"),
    [(2.0, 1.0, True), (1.0, 1.0, False), (1.0, 2.0, False), (math.nan, 1.0, False), (-1.0, -2.0, True)],
)
def test_higher_is_better_and_a_tie_is_not(candidate: float, reference: float, is_better: bool) -> None:
    assert EVALUATOR.compare(EvalMetrics(candidate), EvalMetrics(reference)) is is_better


def test_an_evaluator_tells_by_a_method_whether_it_scores_other_actions() -> None:
    class Counterfactual(ScoreEvaluator):
        def score_actions(self, episode_data: Any, actions: Any) -> EvalMetrics:
            return EvalMetrics(0.0)

    assert isinstance(Counterfactual(), ScoresActions)
    assert not isinstance(EVALUATOR, ScoresActions)
