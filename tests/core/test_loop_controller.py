import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, LoopState, PolicySnapshot
from tensor_optix.errors import NonFiniteError
from tests.fakes.loops import FixedOptimizer, LoopRig
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline


def test_it_ends_by_itself_when_nothing_improves_and_holds_the_best(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 3.0, 2.9, 2.9, 2.9, 2.9, 9.0])
    report = rig.run()
    assert report.converged
    assert report.best_score == 3.0
    assert report.best_window == 1
    assert report.windows == 6
    assert rig.agent.weight == pytest.approx(0.1)  # the weight that collected window 1, before learning from it


def test_the_hooks_come_in_their_order(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    rig.run()
    assert rig.recorder.calls == [
        ("start",),
        ("improvement", 1.0),
        ("end", 0, 1.0),
        ("end", 1, 1.0),
        ("plateau", 2, LoopState.COOLING),
        ("end", 2, 1.0),
        ("end", 3, 1.0),
        ("dormant", 4),
        ("end", 4, 1.0),
        ("stop",),
    ]


def test_the_interval_grows_on_a_plateau_and_training_goes_on_between(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0] * 40, max_interval=8, plateau=2, dormant=5)
    report = rig.run()
    assert [record.window_id for record in rig.history()] == [0, 1, 2, 4, 8, 16]
    assert report.converged
    assert rig.agent.learned == list(range(17))


def test_an_improvement_brings_the_interval_back(tmp_path: Path) -> None:
    scores = [1.0] * 40
    scores[4] = 2.0
    rig = LoopRig(tmp_path, scores, max_interval=8, plateau=2, dormant=5)
    rig.run()
    assert [record.window_id for record in rig.history()][:6] == [0, 1, 2, 4, 5, 6]


def test_max_episodes_counts_windows(tmp_path: Path) -> None:
    report = LoopRig(tmp_path, [1.0] * 9, max_episodes=3).run()
    assert (report.reason, report.windows) == ("max_episodes", 3)


def test_max_steps_ends_with_the_window_that_reaches_it(tmp_path: Path) -> None:
    one = LoopRig(tmp_path / "a", [1.0], max_episodes=1).run().env_steps
    report = LoopRig(tmp_path / "b", [1.0] * 9, max_steps=2 * one + 1).run()
    assert (report.reason, report.windows) == ("max_steps", 3)


def test_a_second_run_goes_no_further_than_its_bounds(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0] * 9, max_steps=1)
    assert (rig.run().windows, rig.run().windows) == (1, 1)


def test_the_end_of_a_window_has_two_names(tmp_path: Path) -> None:
    class Both(LoopCallback):
        def __init__(self) -> None:
            self.told: list[tuple] = []

        def on_window_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            self.told.append(("window", window_id, eval_metrics and eval_metrics.primary_score))

        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            self.told.append(("episode", window_id, eval_metrics and eval_metrics.primary_score))

    LoopRig(tmp_path, [1.0, 2.0], callbacks=[both := Both()]).run()
    assert both.told == [("window", 0, 1.0), ("episode", 0, 1.0), ("window", 1, 2.0), ("episode", 1, 2.0)]


def test_a_pipeline_that_runs_dry_ends_the_run(tmp_path: Path) -> None:
    assert LoopRig(tmp_path, [1.0, 2.0]).run().reason == "exhausted"


class Stopper(LoopCallback):
    """Ends a run at its first improvement, once."""

    stop: Callable[[], None] | None = None

    def on_improvement(self, snapshot: PolicySnapshot) -> None:
        if self.stop is not None:
            self.stop()
            self.stop = None


def test_stop_ends_after_the_window_in_progress(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0], callbacks=[stopper := Stopper()])
    stopper.stop = rig.loop.stop
    report = rig.run()
    assert (report.reason, report.windows) == ("stopped", 1)
    assert rig.recorder.calls[-1] == ("stop",)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_window_with_the_best_saved(tmp_path: Path, number: int) -> None:
    class Signalling(NumpyAgent):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            if episode_data.episode_id == 1:
                os.kill(os.getpid(), number)
            return super().learn(episode_data)

    before = signal.getsignal(number)
    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0], agent=Signalling())
    report = rig.run()
    assert (report.reason, report.windows, report.best_score) == ("interrupted", 2, 2.0)
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    class Impatient(NumpyAgent):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            if episode_data.episode_id == 1:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
                raise AssertionError("not reached")
            return super().learn(episode_data)

    report = LoopRig(tmp_path, [1.0, 2.0, 3.0], agent=Impatient()).run()
    assert (report.reason, report.best_score) == ("interrupted", 1.0)


def test_watching_goes_on_after_dormant_and_wakes_on_degradation(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [10.0] * 30 + [1.0] * 14, on_converged="watch")
    report = rig.run()
    states = [record.state for record in rig.history()]
    assert states[4:30] == ["watchdog"] * 26
    assert "active" in states[30:40]
    assert report.reason == "exhausted"
    assert len(rig.recorder.named("dormant")) == 2


def test_a_live_pipeline_is_watched_by_default(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0] * 8)
    rig.pipeline.is_live = True
    assert rig.run().reason == "exhausted"


def test_thresholds_set_by_hand_are_obeyed_on_a_flat_start_as_on_any_plateau(tmp_path: Path) -> None:
    class Known(ScoreEvaluator):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
            metrics = super().score(episode_data, train_diagnostics)
            return EvalMetrics(metrics.primary_score, {"score_std_err": 0.0}, metrics.episode_id)

    flat = LoopRig(tmp_path / "flat", [-200.0] * 60, evaluator=Known(), dormant=12).run()
    assert (flat.reason, flat.windows) == ("nothing_learned", 1 + 12)
    late = LoopRig(tmp_path / "late", [-200.0] * 10 + [-150.0] * 40, evaluator=Known(), dormant=12).run()
    assert (late.reason, late.best_score, late.windows) == ("converged", -150.0, 10 + 1 + 12)


class TestFailure:
    @pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError("full"), ValueError("bad")])
    def test_an_agent_that_raises_ends_the_run_with_that_exception_and_the_best_saved(
        self, tmp_path: Path, error: Exception
    ) -> None:
        class Failing(NumpyAgent):
            def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
                if episode_data.episode_id == 2:
                    self.weight = 99.0
                    raise error
                return super().learn(episode_data)

        rig = LoopRig(tmp_path, [1.0, 2.0, 3.0], agent=Failing())
        with pytest.raises(type(error), match=str(error)):
            rig.run()
        assert rig.pipeline.closed
        assert rig.agent.weight == pytest.approx(0.1)
        assert rig.registry.best.eval_metrics.primary_score == 2.0
        assert not list(tmp_path.glob(".tmp-*"))
        assert len(rig.history()) == 2
        assert rig.recorder.calls[-1] == ("stop",)

    def test_an_evaluator_that_raises_once_gives_no_score_and_one_that_goes_on_ends_the_run(
        self, tmp_path: Path
    ) -> None:
        class Failing(ScoreEvaluator):
            def __init__(self, windows: set[int]) -> None:
                self.windows = windows

            def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
                if episode_data.episode_id in self.windows:
                    raise LookupError("no score")
                return super().score(episode_data, train_diagnostics)

        report = LoopRig(tmp_path / "once", [1.0, 2.0, 3.0, 2.5, 4.0], evaluator=Failing({1, 3})).run()
        assert (report.best_score, report.health) == (4.0, {"evaluator": 2})
        rig = LoopRig(tmp_path / "always", [1.0, 2.0, 2.0, 2.0], evaluator=Failing({1, 2, 3}))
        with pytest.raises(LookupError):
            rig.run()
        assert rig.registry.best is not None

    def test_a_pipeline_that_raises_does_so_too_and_an_unscored_policy_is_saved(self, tmp_path: Path) -> None:
        class Failing(ScriptedPipeline):
            def episodes(self):
                yield from super().episodes()
                raise ConnectionError("env is gone")

        rig = LoopRig(tmp_path, [], pipeline=Failing([None]))
        with pytest.raises(ConnectionError):
            rig.run()
        assert len(rig.registry.snapshots()) == 1
        assert rig.registry.best is None

    def test_a_nan_loss_never_becomes_a_checkpoint_and_the_third_in_a_row_aborts_the_run(self, tmp_path: Path) -> None:
        class Diverging(NumpyAgent):
            def __init__(self, windows: set[int]) -> None:
                super().__init__()
                self.windows = windows

            def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
                super().learn(episode_data)
                return {"policy_loss": math.nan if episode_data.episode_id in self.windows else 0.5}

        agent = Diverging({1, 2, 4})
        rig = LoopRig(tmp_path / "divergences", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], agent=agent)
        report = rig.run()
        assert (report.health, report.reason) == ({"divergence": 3}, "exhausted")
        assert [s.eval_metrics.primary_score for s in rig.registry.snapshots()] == [1.0, 4.0, 6.0]
        assert agent.params["learning_rate"] == pytest.approx(0.1 / 2**3)
        faults = [record.fault for record in rig.history()]
        assert [fault is not None for fault in faults] == [False, True, True, False, True, False]
        assert faults[1] is not None
        assert "policy_loss=nan in window 1" in faults[1]
        aborted = LoopRig(tmp_path / "aborted", [1.0, 2.0, 3.0, 4.0, 5.0], agent=Diverging({1, 2, 3}))
        with pytest.raises(NonFiniteError, match=r"policy_loss=nan in window 3.*snapshot 000000 is kept"):
            aborted.run()
        assert [s.eval_metrics.primary_score for s in aborted.registry.snapshots()] == [1.0]

    def test_a_callback_that_raises_is_logged_by_name_and_the_run_goes_on(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Clumsy(LoopCallback):
            def __getattribute__(self, name: str) -> Any:
                if name.startswith("on_"):
                    raise SystemExit(name) if name == "on_dormant" else RuntimeError(name)
                return super().__getattribute__(name)

        rig = LoopRig(tmp_path, [1.0] * 6, callbacks=[Clumsy()])
        report = rig.run()
        assert report.converged
        assert rig.recorder.calls[-1] == ("stop",)
        assert any("Clumsy.on_dormant failed" in record.getMessage() for record in caplog.records)

    def test_a_callback_cannot_change_what_the_loop_holds(self, tmp_path: Path) -> None:
        class Meddler(LoopCallback):
            def on_improvement(self, snapshot: Any) -> None:
                snapshot.eval_metrics.metrics["x"] = 1.0
                snapshot.hyperparams.params.clear()

            def on_hyperparam_update(self, old: HyperparamSet, new: HyperparamSet) -> None:
                new.params.clear()

        rig = LoopRig(tmp_path, [1.0, 2.0], optimizer=FixedOptimizer([0.5]), callbacks=[Meddler()])
        report = rig.run()
        assert report.hyperparams == {"learning_rate": 0.5}
        assert rig.agent.params == {"learning_rate": 0.5}


def test_a_second_run_goes_on_with_the_first(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0, 4.0], callbacks=[stopper := Stopper()])
    stopper.stop = rig.loop.stop
    assert rig.run().windows == 1
    report = rig.run()
    assert (report.windows, report.best_score) == (4, 4.0)
    assert [record.window_id for record in rig.history()] == [0, 1, 2, 3]


def test_the_report_accounts_for_all_time(tmp_path: Path) -> None:
    seconds = LoopRig(tmp_path, [1.0, 2.0], val_scores=[1.0, 2.0]).run().seconds
    assert seconds["total"] == pytest.approx(sum(v for k, v in seconds.items() if k != "total"))
    assert min(seconds.values()) > 0


def test_the_history_is_one_json_line_per_evaluated_window(tmp_path: Path) -> None:
    LoopRig(tmp_path, [1.0, None, 2.0]).run()
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["eval_metrics"]["primary_score"] for line in lines] == [1.0, None, 2.0]


def test_a_second_run_after_it_converged_starts_with_fresh_patience(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0] * 50)
    assert rig.run().windows == 5
    second = rig.run()
    assert (second.reason, second.windows) == ("converged", 9)
