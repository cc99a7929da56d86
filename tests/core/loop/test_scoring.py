"""What a window is worth: with and without validation, against the best, and where scoring fails."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.decisions.validation_budget import ValidationBudget, ValidationSpent
from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scoring import no_score
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import (
    BadDataError,
    ContractError,
)
from tests.fakes.loops import FixedOptimizer, LoopRig
from tests.fakes.scoring import ScoringRig
from tests.helpers import ScoreEvaluator, ScriptedPipeline, window_of


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ScoringRig]:
    made = ScoringRig(tmp_path)
    yield made
    made.registry.close()


class TestWithoutValidation:
    def test_the_window_itself_is_scored_and_a_first_policy_is_the_best(self, rig: ScoringRig) -> None:
        scored = rig.score(3.0)
        assert (scored.metrics.primary_score, scored.is_best, scored.evidence) == (3.0, True, ())

    def test_a_policy_that_is_gone_cannot_be_the_best(self, rig: ScoringRig) -> None:
        assert not rig.score(3.0, saves=False).is_best

    @pytest.mark.parametrize(("score", "is_best"), [(5.0, False), (5.1, True), (4.0, False)])
    def test_the_best_must_be_beaten(self, rig: ScoringRig, score: float, is_best: bool) -> None:
        assert rig.score(score, rig.save(5.0, 0.0)).is_best is is_best

    def test_by_the_margin(self, tmp_path: Path) -> None:
        rig = ScoringRig(tmp_path, config=LoopConfig(improvement_margin=1.0))
        best = rig.save(5.0, 0.0)
        assert [rig.score(score, best).is_best for score in (5.5, 6.5)] == [False, True]
        rig.registry.close()

    def test_a_window_without_evidence_is_not_the_best(self, rig: ScoringRig) -> None:
        scored = rig.score(None)
        assert (scored.metrics.is_usable, scored.is_best, rig.faults) == (False, False, {})


class TestWithValidation:
    def test_the_score_of_held_out_episodes_decides_and_both_are_shown(self, tmp_path: Path) -> None:
        scored = ScoringRig(tmp_path, held_out=ScriptedPipeline([2.0])).score(9.0)
        assert scored.metrics.primary_score == 2.0
        assert scored.metrics.metrics["train_score"] == 9.0
        assert scored.metrics.generalization_gap == 7.0
        assert scored.is_best

    @pytest.mark.parametrize(("spent", "is_up"), [(1_300, True), (2_650, True), (2_700, False)])
    def test_an_evaluation_that_the_end_waits_for_may_take_twice_as_much(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spent: int, is_up: bool
    ) -> None:
        monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_STEPS", 0)
        monkeypatch.setattr("tensor_optix.core.loop.scoring.waits_for_evaluation", lambda state, config: waits)
        config = LoopConfig(validation=ValidationBudget(share=1 / 4))
        rig = ScoringRig(tmp_path, is_seeded=True, config=config)
        rig.scorer.validation.spent = ValidationSpent(steps=spent, newest=10)
        state = RunState(position=BackoffScheduler().initial(), window_id=4, env_steps=6_000)
        waits = False
        assert rig.scorer.is_up(state) is (spent <= 1_323)
        waits = True
        assert rig.scorer.is_up(state) is is_up
        rig.registry.close()

    def test_a_live_score_is_completed_by_held_out_episodes_where_there_are_any(
        self, tmp_path: Path, rig: ScoringRig
    ) -> None:
        state, live = RunState(position=BackoffScheduler().initial()), EvalMetrics(9.0, {}, 4)
        assert rig.scorer.validated(state, live) is live
        held_out = ScoringRig(tmp_path / "held out", held_out=ScriptedPipeline([2.0])).scorer.validated(state, live)
        assert (held_out.primary_score, held_out.metrics["train_score"], held_out.episode_id) == (2.0, 9.0, 4)


class Failing(ScoreEvaluator):
    """Raises, or returns what is no score."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        result = self.results.pop(0) if self.results else None
        if isinstance(result, Exception):
            raise result
        return result if result is not None else super().score(episode_data, train_diagnostics)


class TestFailures:
    def test_an_evaluator_that_raises_gives_no_score_and_says_why(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rig = ScoringRig(tmp_path, Failing(ZeroDivisionError("no steps")))
        with caplog.at_level(logging.WARNING):
            scored = rig.score(3.0)
        assert (scored.metrics.has_evidence, scored.metrics.episode_id, rig.faults) == (False, 4, {"evaluator": 1})
        assert "Window 4 has no score" in caplog.text
        assert "no steps" in caplog.text

    def test_the_third_in_a_row_raises_what_the_evaluator_raised(self, tmp_path: Path) -> None:
        rig = ScoringRig(tmp_path, Failing(*[ZeroDivisionError(f"no steps {n}") for n in range(MOST_IN_A_ROW)]))
        for _ in range(MOST_IN_A_ROW - 1):
            rig.score(3.0)
        with pytest.raises(ZeroDivisionError, match=f"no steps {MOST_IN_A_ROW - 1}"):
            rig.score(3.0)

    def test_a_good_score_between_ends_the_streak(self, tmp_path: Path) -> None:
        errors = [ZeroDivisionError()] * (MOST_IN_A_ROW - 1)
        rig = ScoringRig(tmp_path, Failing(*errors, None, *errors))
        found = [rig.score(3.0).metrics.is_usable for _ in range(2 * MOST_IN_A_ROW - 1)]
        assert found == [False, False, True, False, False]

    def test_what_is_no_score_breaks_the_contract_at_the_third(self, tmp_path: Path) -> None:
        rig = ScoringRig(tmp_path, Failing(*["high"] * MOST_IN_A_ROW))
        for _ in range(MOST_IN_A_ROW - 1):
            rig.score(3.0)
        with pytest.raises(ContractError, match=r"Failing\.score must return EvalMetrics"):
            rig.score(3.0)

    def test_held_out_episodes_that_cannot_be_played_are_counted_apart(self, tmp_path: Path) -> None:
        class Broken(ScriptedPipeline):
            def episodes(self) -> Iterator[EpisodeData]:
                raise BadDataError("the environment gives NaN")
                yield

        rig = ScoringRig(tmp_path, held_out=Broken([]))
        for _ in range(MOST_IN_A_ROW - 1):
            assert not rig.score(3.0).metrics.is_usable
        assert rig.faults == {"validation": MOST_IN_A_ROW - 1}
        with pytest.raises(BadDataError, match="the environment gives NaN"):
            rig.score(3.0)

    def test_on_watch_a_failure_gives_no_score_either(self, tmp_path: Path) -> None:
        rig = ScoringRig(tmp_path, Failing(ZeroDivisionError()))
        state = RunState(position=BackoffScheduler().initial(), window_id=7)
        assert rig.scorer.live(state, window_of(1.0, 7)).episode_id == 7
        assert rig.scorer.live(state, window_of(1.0, 7)).primary_score == 1.0
        assert not rig.scorer.shadowed(state, window_of(1.0, 7), np.zeros(2)).is_usable  # it cannot score other actions


def test_no_score_is_no_evidence() -> None:
    metrics = no_score(12)
    assert math.isnan(metrics.primary_score)
    assert (metrics.episode_id, metrics.has_evidence, metrics.is_usable) == (12, False, False)


class TestEvidence:
    def test_a_window_without_an_episode_decides_nothing(self, tmp_path: Path) -> None:
        optimizer = FixedOptimizer()
        rig = LoopRig(tmp_path, [1.0, None, None, None, None, None, 2.0], optimizer=optimizer)
        report = rig.run()
        assert report.reason == "exhausted"
        assert report.best_score == 2.0
        assert [record.verdict for record in rig.history()] == ["improved", *["no_evidence"] * 5, "improved"]
        assert [score for name, score in optimizer.seen if name == "suggest"] == [1.0, 2.0]

    def test_evidence_accumulates_into_the_next_evaluation(self, tmp_path: Path) -> None:
        class Counting(ScoreEvaluator):
            def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
                metrics = super().score(episode_data, train_diagnostics)
                return EvalMetrics(
                    metrics.primary_score,
                    {"n": float(len(episode_data.completed_episodes()))},
                    metrics.episode_id,
                    metrics.has_evidence,
                )

        rig = LoopRig(tmp_path, [None, 1.0, 2.0, 3.0], evaluator=Counting(), base_interval=3)
        rig.run()
        counted = {record.window_id: record.eval_metrics.metrics["n"] for record in rig.history()}
        assert counted == {0: 0.0, 1: 1.0}

    def test_twenty_in_a_row_are_worth_one_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            LoopRig(tmp_path, [None] * 50).run()
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 1
        assert "20 windows in a row" in messages[0]
        assert "window_size" in messages[0]

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_score_that_is_no_number_is_reported_and_never_best(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: float
    ) -> None:
        class Sometimes(BaseEvaluator):
            def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
                return EvalMetrics([bad, 1.0, bad, 2.0][episode_data.episode_id], {}, episode_data.episode_id)

        with caplog.at_level(logging.WARNING):
            report = LoopRig(tmp_path, [0.0] * 4, evaluator=Sometimes()).run()
        assert report.best_score == 2.0
        assert sum("never becomes the best" in record.getMessage() for record in caplog.records) == 1
