"""What every evaluator must keep: inherit, and give a fixture `evaluator`."""

import math

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.types import EvalMetrics
from tests.helpers import window_of


class EvaluatorContract:
    def test_scores_a_window(self, evaluator: BaseEvaluator) -> None:
        metrics = evaluator.score(window_of(3.0, window_id=7), {"loss": 0.5})
        assert metrics.is_usable
        assert metrics.episode_id == 7

    def test_scoring_twice_gives_the_same(self, evaluator: BaseEvaluator) -> None:
        assert evaluator.score(window_of(3.0), {}) == evaluator.score(window_of(3.0), {})

    def test_takes_an_empty_set_of_diagnostics(self, evaluator: BaseEvaluator) -> None:
        assert math.isfinite(evaluator.score(window_of(1.0), {}).primary_score)

    def test_validation_drives_the_combined_score(self, evaluator: BaseEvaluator) -> None:
        combined = evaluator.combine(EvalMetrics(5.0, {}, 3), EvalMetrics(2.0, {}, 0))
        assert combined.primary_score == 2.0
        assert combined.generalization_gap == 3.0
        assert combined.episode_id == 3

    def test_compare_prefers_the_higher_score_and_no_nan(self, evaluator: BaseEvaluator) -> None:
        assert evaluator.compare(EvalMetrics(-1.0), EvalMetrics(-2.0))
        assert not evaluator.compare(EvalMetrics(math.nan), EvalMetrics(-2.0))
        assert evaluator.compare(EvalMetrics(-9.0), EvalMetrics(math.nan))
