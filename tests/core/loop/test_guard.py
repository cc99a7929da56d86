"""Faults are caught where they enter, in the same window, and leave nothing behind."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import BatchPipeline, CheckpointRegistry, RLOptimizer
from tensor_optix.core.loop.guard import MOST_REASONS, OTHER_REASONS, EvaluatorFailedError, GuardedEvaluator, Health
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.storage.resume_ring import ResumeRing
from tensor_optix.core.storage.run_keeper import RunKeeper
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import BadDataError, CheckpointStorageError, ContractError
from tests.fakes.windows import BAD_SCORES
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


def test_reasons_that_differ_in_a_number_do_not_add_up_without_end() -> None:
    health = Health()
    for number in range(100):
        health.name_failures("raised", {f"The environment raised in step: OSError: port {number}": 1})
    health.name_failures("raised", {"The environment raised in step: OSError: port 3": 1})
    reasons = health.failed_episodes["raised"]
    assert len(reasons) == MOST_REASONS + 1
    assert (reasons["step: OSError: port 3"], reasons[OTHER_REASONS]) == (2, 100 - MOST_REASONS)


class TestEvaluator:
    @pytest.mark.parametrize("number", range(len(BAD_SCORES)))
    @pytest.mark.parametrize("window", [0, 1, 5])
    def test_what_is_no_score_decides_nothing_and_a_later_one_still_wins(
        self, number: int, window: int, tmp_path: Path
    ) -> None:
        class Bad(ScoreEvaluator):
            def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
                if episode_data.episode_id == window:
                    return BAD_SCORES[number]
                return super().score(episode_data, train_diagnostics)

        report = RLOptimizer(
            NumpyAgent(),
            ScriptedPipeline([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0]),
            val_pipeline=None,
            evaluator=Bad(),
            checkpoint_dir=tmp_path,
        ).run()
        assert (report.best_score, report.best_window) == (3.0, 6)


def test_a_state_that_could_not_be_saved_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = ResumeRing.save, []

    def full(ring: ResumeRing, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) in (2, 3):
            raise CheckpointStorageError("No space left on device")
        return save(ring, *arguments)

    monkeypatch.setattr(ResumeRing, "save", full)
    monkeypatch.setattr(RunKeeper, "is_due", True)
    report = RLOptimizer(
        NumpyAgent(), BatchPipeline("CartPole-v1", window_size=20), checkpoint_dir=tmp_path, max_episodes=5, seed=1
    ).run()
    assert report.health == {"state": 2}
    assert len(calls) == 5


def test_a_disk_that_is_full_for_a_while_costs_no_training_and_nothing_is_said_to_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [float(n) for n in range(12)]
    commit, seen = CheckpointRegistry.commit, []

    def full(registry: CheckpointRegistry, staged: Path, metrics: EvalMetrics, window_id: int, *rest: Any) -> Any:
        if 4 <= window_id < 8:
            registry.discard(staged)
            raise CheckpointStorageError("No space left on device")
        return commit(registry, staged, metrics, window_id, *rest)

    class Watch(LoopCallback):
        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            seen.append(optimizer.status.best.eval_metrics.primary_score)  # type: ignore[union-attr]

    monkeypatch.setattr(CheckpointRegistry, "commit", full)
    agent = NumpyAgent()
    optimizer = RLOptimizer(
        agent,
        ScriptedPipeline(scores),
        val_pipeline=None,
        evaluator=ScoreEvaluator(),
        checkpoint_dir=tmp_path,
        callbacks=[Watch()],
    )
    report = optimizer.run()
    assert agent.learned == list(range(12))
    assert seen == [0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 8.0, 9.0, 10.0, 11.0]
    assert report.health == {"storage": 4}
    assert report.best_score == 11.0


def test_an_action_that_is_not_finite_does_not_reach_the_environment(tmp_path: Path) -> None:
    class Lost(NumpyAgent):
        def act(self, observation: Any) -> Any:
            return np.array([math.nan], np.float32)

    with pytest.raises(BadDataError, match="is not finite, and does not reach"):
        next(BatchPipeline("Pendulum-v1", Lost(), 4, seed=0).episodes())


class TestGuardedEvaluator:
    def test_a_score_beats_a_lower_one_only(self) -> None:
        evaluator = GuardedEvaluator(ScoreEvaluator())
        assert [evaluator.beats(EvalMetrics(score), EvalMetrics(1.0)) for score in (0.5, 1.0, 1.5)] == [
            False,
            False,
            True,
        ]

    class Comparing(ScoreEvaluator):
        def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
            return EvalMetrics(float(actions))

        def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
            raise ValueError("mine")

    def test_a_comparison_that_fails_is_the_evaluators_failure(self) -> None:
        evaluator = GuardedEvaluator(self.Comparing())
        with pytest.raises(EvaluatorFailedError, match=r"Comparing\.compare failed") as raised:
            evaluator.beats(EvalMetrics(2.0), EvalMetrics(1.0))
        assert isinstance(raised.value.__cause__, ValueError)

    def test_other_actions_are_scored_by_the_evaluator(self) -> None:
        evaluator = GuardedEvaluator(self.Comparing())
        assert evaluator.score_actions(window_of(1.0), np.float32(3.0)) == EvalMetrics(3.0)

    @pytest.mark.parametrize("returned", [None, 3.0, EvalMetrics(True), EvalMetrics("3")])  # type: ignore[arg-type]
    def test_what_is_no_score_says_what_it_is(self, returned: Any) -> None:
        class Wrong(ScoreEvaluator):
            def combine(self, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
                return returned

        with pytest.raises(EvaluatorFailedError, match=r"Wrong\.combine failed") as raised:
            GuardedEvaluator(Wrong()).combine(EvalMetrics(1.0), EvalMetrics(1.0))
        assert isinstance(raised.value.__cause__, ContractError)
        assert "must return EvalMetrics with a number" in str(raised.value.__cause__)


def test_a_storage_that_fails_is_reported_once_for_each_streak(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()

    def save(fails: bool) -> None:
        with health.surviving_storage("save the state", "state"):
            if fails:
                raise CheckpointStorageError("No space left on device")

    for fails in (True, True, False, True):
        save(fails)
    assert [record.getMessage()[:24] for record in caplog.records] == ["Could not save the state"] * 2
    assert (health.counts, health.in_a_row) == ({"state": 3}, {"state": 1})
