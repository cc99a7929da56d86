"""Faults are caught where they enter, in the same window, and leave nothing behind."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import BatchPipeline, CheckpointRegistry, RLOptimizer
from tensor_optix.core.loop.callbacks import CallbackList
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.learning import after_divergence, non_finite_loss, window_fault
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.storage.resume_ring import ResumeRing
from tensor_optix.core.storage.run_keeper import RunKeeper
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import BadDataError, CheckpointStorageError, ContractError, NonFiniteError
from tests.fakes.windows import BAD_SCORES, windows
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


def spoilt(field: str, place: Any, value: float) -> EpisodeData:
    (window,) = windows(1)
    array = np.array(getattr(window, field), np.float64)
    array[place] = value
    return EpisodeData(**{**vars(window), field: array})


class TestWindows:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize(
        ("field", "place"), [("observations", (5, 2)), ("next_observations", (5, 0)), ("rewards", 5), ("actions", 5)]
    )
    def test_a_value_that_is_not_finite_is_named_by_field_and_row(self, field: str, place: Any, value: float) -> None:
        fault = window_fault(spoilt(field, place, value))
        assert fault == f"{field} is not finite in row 5 (environment 0, step 5)"

    def test_a_good_one_has_no_fault_and_one_with_rows_missing_has(self) -> None:
        (window,) = windows(1)
        assert window_fault(window) is None
        short = EpisodeData(**{**vars(window), "observations": window.observations[:-1]})
        assert window_fault(short) == "observations has 31 rows, where the rewards have 32"

    def test_a_bad_window_is_not_learned_and_the_third_in_a_row_ends_the_run(self, tmp_path: Path) -> None:
        class Spoilt(ScriptedPipeline):
            def __init__(self, bad: set[int]) -> None:
                super().__init__([1.0] * 6)
                self.bad = bad

            def episodes(self):
                for number, window in enumerate(super().episodes()):
                    rewards = np.array(window.rewards)
                    if number in self.bad:
                        rewards[0] = math.nan
                    yield EpisodeData(**{**vars(window), "rewards": rewards})

        agent = NumpyAgent()
        optimizer = RLOptimizer(
            agent, Spoilt({1, 2, 4}), val_pipeline=None, evaluator=ScoreEvaluator(), checkpoint_dir=tmp_path / "some"
        )
        assert optimizer.run().health == {"window": 3}
        assert agent.learned == [0, 3, 5]
        with pytest.raises(BadDataError, match="rewards is not finite in row 0"):
            RLOptimizer(NumpyAgent(), Spoilt({1, 2, 3}), val_pipeline=None, checkpoint_dir=tmp_path / "many").run()


class TestDivergences:
    def test_half_the_learning_rate_and_the_values_before_within_the_bounds(self) -> None:
        class Bounded(NumpyAgent):
            default_param_bounds = {"learning_rate": (0.04, 1.0)}

        agent = Bounded(learning_rate=0.5)
        assert after_divergence(agent, HyperparamSet({"learning_rate": 0.1})).params == {"learning_rate": 0.05}
        assert after_divergence(agent, HyperparamSet({"learning_rate": 0.05})).params == {"learning_rate": 0.04}
        assert after_divergence(agent, HyperparamSet({"gamma": 0.9})).params == {"gamma": 0.9}

    def test_only_a_loss_that_is_a_number_and_not_finite_is_a_fault(self) -> None:
        assert non_finite_loss({"loss": 1.0, "entropy": math.nan, "loss_kind": "nan", "loss_parts": [1.0]}) is None
        assert non_finite_loss({"value_loss": np.float32("inf")}) == "learn() reported value_loss=inf"

    def test_a_learn_that_raises_is_tried_once_more_from_what_the_agent_was(self, tmp_path: Path) -> None:
        class Once(NumpyAgent):
            times = 0

            def snapshot(self) -> object:
                return self.weight

            def restore(self, state: Any) -> None:
                self.weight = state

            def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
                super().learn(episode_data)
                if episode_data.episode_id == 1:
                    self.times += 1
                    if self.times == 1:
                        self.weight = 99.0
                        raise MemoryError("full")
                return {}

        agent = Once()
        report = RLOptimizer(
            agent,
            ScriptedPipeline([1.0, 2.0, 3.0]),
            val_pipeline=None,
            evaluator=ScoreEvaluator(),
            checkpoint_dir=tmp_path,
            restore_best=False,
        ).run()
        assert report.health == {"learn": 1}
        assert agent.weight == pytest.approx(0.3)

    @pytest.mark.parametrize("returned", [None, [1], 0.5, "loss"])
    def test_a_learn_that_returns_no_diagnostics_is_told_so(self, returned: Any, tmp_path: Path) -> None:
        class Silent(NumpyAgent):
            def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
                return returned

        with pytest.raises(ContractError, match=r"Silent\.learn must return diagnostics by name"):
            RLOptimizer(Silent(), ScriptedPipeline([1.0]), None, ScoreEvaluator(), checkpoint_dir=tmp_path).run()


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


def test_a_slow_callback_is_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0

    class Takes(LoopCallback):
        def __init__(self, seconds: list[float]) -> None:
            self.seconds = iter(seconds)

        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            nonlocal now
            now += next(self.seconds)

    health = Health()
    slow, quick = Takes([5.0, 0.9, 5.0, 5.0]), Takes([0.1] * 4)
    callbacks = CallbackList([slow, quick], lambda: now, health)
    now = 100.0  # what came before the run is nobody's window
    callbacks.call("on_loop_start")
    for window_id, lived in enumerate((1.0, 0.1, 1.0, 20.0)):  # of the last it takes a share that may be
        now += lived
        callbacks.call("on_episode_end", window_id, None)
    assert health.counts == {"slow callback": 2}
    assert [record.message for record in caplog.records] == [
        "Callback Takes took 5.0 s of a window of 6.1 s: the training waits for it. Do less in it, or do it in a "
        "thread of its own."
    ]


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


def test_three_divergences_leave_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    class Diverging(NumpyAgent):
        diverges = True

        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            super().learn(episode_data)
            return {"loss": math.nan if self.diverges and episode_data.episode_id >= 3 else 0.5}

    def optimizer(agent: NumpyAgent, *, resume: bool) -> RLOptimizer:
        pipeline = BatchPipeline("CartPole-v1", window_size=40)
        return RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, max_episodes=8, seed=1, resume=resume)

    with pytest.raises(NonFiniteError, match="the third time in a row"):
        optimizer(Diverging(), resume=False).run()
    mended = Diverging()
    mended.diverges = False
    report = optimizer(mended, resume=True).run()
    assert (report.windows, report.reason) == (8, "max_episodes")


def test_window_of_is_good() -> None:
    assert window_fault(window_of(1.0)) is None
