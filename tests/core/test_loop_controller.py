import itertools
import json
import logging
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.history import History, read_history
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, LoopState, PolicySnapshot
from tensor_optix.errors import HyperparamError, InvalidArgumentError, NonFiniteError, TensorOptixError
from tests.fakes.loops import FixedOptimizer, Recorder
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


class Rig:
    """A loop over scripted scores, and everything around it."""

    def __init__(
        self,
        folder: Path,
        scores: list[float | None],
        *,
        val_scores: list[float | None] | None = None,
        val_pipeline: BasePipeline | None = None,
        optimizer: BaseOptimizer | None = None,
        evaluator: BaseEvaluator | None = None,
        agent: NumpyAgent | None = None,
        plateau: int = 2,
        dormant: int = 4,
        base_interval: int = 1,
        max_interval: int = 1,
        **config: Any,
    ) -> None:
        self.agent = agent or NumpyAgent()
        self.recorder = Recorder()
        self.pipeline = ScriptedPipeline(scores, self.agent)
        self.val_pipeline = val_pipeline if val_scores is None else ScriptedPipeline(val_scores, self.agent)
        self.registry = CheckpointRegistry(folder)
        self.registry.open()
        self.parts = LoopParts(
            agent=self.agent,
            pipeline=self.pipeline,
            val_pipeline=self.val_pipeline,
            evaluator=evaluator or ScoreEvaluator(),
            optimizer=optimizer or FixedOptimizer(),
            registry=self.registry,
            history=History(folder / "history.jsonl"),
        )
        scheduler = BackoffScheduler(
            plateau_threshold=plateau,
            dormant_threshold=dormant,
            base_interval=base_interval,
            max_interval=max(max_interval, base_interval),
        )
        self.clock = itertools.count()
        self.controller = LoopController(
            self.parts,
            LoopConfig(scheduler=scheduler, **config),
            [self.recorder],
            clock=lambda: float(next(self.clock)),
        )
        self.folder = folder

    def run(self) -> Any:
        return self.controller.run()

    def history(self) -> list[Any]:
        return read_history(self.folder / "history.jsonl")


def test_it_ends_by_itself_when_nothing_improves_and_holds_the_best(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 3.0, 2.9, 2.9, 2.9, 2.9, 9.0])
    report = rig.run()
    assert report.converged
    assert report.best_score == 3.0
    assert report.best_window == 1
    assert report.windows == 6
    assert rig.agent.weight == pytest.approx(0.1)  # the weight that lived window 1, before learning from it


def test_the_hooks_come_in_their_order(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
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


def test_a_better_validation_score_decides_and_not_the_training_score(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 9.0, 9.0], val_scores=[5.0, 4.9, 5.1])
    report = rig.run()
    assert [score for _, score in rig.recorder.named("improvement")] == [5.0, 5.1]
    assert report.best_score == 5.1
    assert report.generalization_gap == pytest.approx(9.0 - 5.1)
    assert rig.agent.weight == pytest.approx(0.3)  # validated after learning, so that is what was saved


def test_validation_never_learns(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 2.0, 3.0], val_scores=[1.0, 2.0, 3.0])
    rig.run()
    assert rig.agent.learned == [0, 1, 2]


def test_a_finite_validation_pipeline_starts_over(tmp_path: Path) -> None:
    class Restarting(ScriptedPipeline):
        def episodes(self):
            self.position = 0
            return super().episodes()

    rig = Rig(tmp_path, [1.0, 2.0, 3.0, 4.0], val_pipeline=Restarting([1.0, 2.0]))
    rig.run()
    assert [record.eval_metrics.primary_score for record in rig.history()] == [1.0, 2.0, 1.0, 2.0]


def test_an_empty_validation_pipeline_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(TensorOptixError, match=r"ScriptedPipeline.episodes\(\) yields nothing"):
        Rig(tmp_path, [1.0], val_scores=[]).run()


def test_the_interval_grows_on_a_plateau_and_training_goes_on_between(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0] * 40, max_interval=8, plateau=2, dormant=5)
    report = rig.run()
    assert [record.window_id for record in rig.history()] == [0, 1, 2, 4, 8, 16]
    assert report.converged
    assert rig.agent.learned == list(range(17))


def test_an_improvement_brings_the_interval_back(tmp_path: Path) -> None:
    scores = [1.0] * 40
    scores[4] = 2.0
    rig = Rig(tmp_path, scores, max_interval=8, plateau=2, dormant=5)
    rig.run()
    assert [record.window_id for record in rig.history()][:6] == [0, 1, 2, 4, 5, 6]


def test_margin_must_be_beaten(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [-10.0, -9.5, -8.9], improvement_margin=1.0)
    assert rig.run().best_score == -8.9
    assert [score for _, score in rig.recorder.named("improvement")] == [-10.0, -8.9]


def test_max_episodes_counts_windows(tmp_path: Path) -> None:
    report = Rig(tmp_path, [1.0] * 9, max_episodes=3).run()
    assert (report.reason, report.windows) == ("max_episodes", 3)


def test_a_pipeline_that_runs_dry_ends_the_run(tmp_path: Path) -> None:
    assert Rig(tmp_path, [1.0, 2.0]).run().reason == "exhausted"


def test_stop_ends_after_the_window_in_progress(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 2.0, 3.0])

    class Stopper(LoopCallback):
        def on_improvement(self, snapshot: Any) -> None:
            rig.controller.stop()

    rig.controller._callbacks._callbacks.append(Stopper())
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
    rig = Rig(tmp_path, [1.0, 2.0, 3.0], agent=Signalling())
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

    report = Rig(tmp_path, [1.0, 2.0, 3.0], agent=Impatient()).run()
    assert (report.reason, report.best_score) == ("interrupted", 1.0)


def test_degradation_is_told_and_rolled_back_if_asked(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 10.0, 5.0], rollback_on_degradation=True)
    rig.run()
    assert rig.recorder.named("degradation") == [("degradation", 2)]
    assert rig.agent.loaded[0] == "snapshot_000001"


def test_degradation_without_rollback_leaves_the_weights(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 10.0, 5.0], restore_best=False)
    rig.run()
    assert rig.agent.loaded == []
    assert rig.agent.weight == pytest.approx(0.3)


def test_a_dip_while_probing_is_no_degradation(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [10.0, 1.0], optimizer=FixedOptimizer(probing=True))
    rig.run()
    assert rig.recorder.named("degradation") == []


def test_watching_goes_on_after_dormant_and_wakes_on_degradation(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [10.0] * 30 + [1.0] * 14, on_converged="watch")
    report = rig.run()
    states = [record.state for record in rig.history()]
    assert states[4:30] == ["watchdog"] * 26
    assert "active" in states[30:40]
    assert report.reason == "exhausted"
    assert len(rig.recorder.named("dormant")) == 2


def test_a_live_pipeline_is_watched_by_default(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0] * 8)
    rig.pipeline.is_live = True
    assert rig.run().reason == "exhausted"


def test_suggestions_reach_the_agent_and_the_callbacks(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 2.0, 3.0], optimizer=FixedOptimizer([0.5, 0.25]))
    rig.run()
    assert rig.recorder.named("hyperparams") == [
        ("hyperparams", {"learning_rate": 0.1}, {"learning_rate": 0.5}),
        ("hyperparams", {"learning_rate": 0.5}, {"learning_rate": 0.25}),
    ]
    assert [record.hyperparams.params["learning_rate"] for record in rig.history()] == [0.1, 0.5, 0.25]


def test_the_optimizer_hears_of_improvements_and_plateaus_first(tmp_path: Path) -> None:
    optimizer = FixedOptimizer()
    Rig(tmp_path, [1.0, 1.0, 1.0], optimizer=optimizer).run()
    assert [name for name, _ in optimizer.seen] == ["improvement", "suggest", "suggest", "plateau", "suggest"]


@pytest.mark.parametrize("value", [math.nan, math.inf, "fast", None, True])
def test_a_suggestion_that_is_no_finite_number_never_reaches_the_agent(tmp_path: Path, value: object) -> None:
    rig = Rig(tmp_path, [1.0, 2.0], optimizer=FixedOptimizer([value] * 2))
    assert rig.run().health == {"suggestion": 2}  # refused, and nothing is tuned
    assert rig.agent.params == {"learning_rate": 0.1}
    with pytest.raises(HyperparamError, match="not a finite number"):
        Rig(tmp_path / "again", [1.0, 2.0, 3.0], optimizer=FixedOptimizer([value] * 3)).run()


def test_an_unknown_suggestion_is_refused_with_the_near_name(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0] * 3, optimizer=FixedOptimizer([0.1] * 3, key="learning_rat"))
    with pytest.raises(HyperparamError, match="Did you mean 'learning_rate'"):
        rig.run()


class TestEvidence:
    def test_a_window_without_an_episode_decides_nothing(self, tmp_path: Path) -> None:
        optimizer = FixedOptimizer()
        rig = Rig(tmp_path, [1.0, None, None, None, None, None, 2.0], optimizer=optimizer)
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

        rig = Rig(tmp_path, [None, 1.0, 2.0, 3.0], evaluator=Counting(), base_interval=3)
        rig.run()
        counted = {record.window_id: record.eval_metrics.metrics["n"] for record in rig.history()}
        assert counted == {0: 0.0, 1: 1.0}

    def test_twenty_in_a_row_are_worth_one_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            Rig(tmp_path, [None] * 50).run()
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
            report = Rig(tmp_path, [0.0] * 4, evaluator=Sometimes()).run()
        assert report.best_score == 2.0
        assert sum("never becomes the best" in record.getMessage() for record in caplog.records) == 1


class SeededPipeline(ScriptedPipeline):
    """Validation whose episodes are fixed by seeds: the return is the agent's worth plus the luck of the seed."""

    def __init__(self, agent: NumpyAgent, worth: dict[int, float], luck: dict[int, float]) -> None:
        super().__init__([], agent)
        self.worth, self.luck, self.next_seed = worth, luck, 0
        self.played: list[tuple[int, int]] = []
        """(windows that the policy had learned from, seed)."""

    def episodes(self):
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        self.next_seed += 1
        return [self.next_seed - 1]

    def play(self, seeds):
        learned = round(self.agent.weight / 0.1)
        self.played += [(learned, seed) for seed in seeds]
        return window_of(self.worth[learned] + self.luck.get(seeds[0], 0.0), length=1)


class TestSelection:
    def test_the_first_is_scored_on_fresh_episodes(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {1: 5.0}, {0: 4.0})
        report = Rig(tmp_path, [0.0], agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator()).run()
        assert report.best_score == 5.0
        assert val.played == [(1, 0), (1, 1), (1, 2)]

    def test_a_lucky_candidate_is_not_crowned(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {1: 5.0, 2: 4.0}, {3: 3.0})  # its first episode is a lucky one
        rig = Rig(tmp_path, [0.0] * 2, agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator())
        assert rig.run().best_score == 5.0
        assert val.played[3:] == [(2, 3), (2, 4), (2, 5), (1, 4), (1, 5)]
        assert round(agent.weight, 6) == 0.1  # the best is given back; the learner had its own again before
        assert [record.is_best for record in rig.history()] == [True, False]
        assert [record.eval_metrics.primary_score for record in rig.history()] == [5.0, 4.0]

    def test_a_better_one_is_ahead_of_the_best_on_the_same_fresh_episodes(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        luck = {1: -1.0, 2: 3.0, 4: 1.0}
        val = SeededPipeline(agent, {1: 5.0, 2: 7.0}, luck)
        rig = Rig(tmp_path, [0.0] * 2, agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator())
        report = rig.run()
        assert val.played[3:] == [(2, 3), (2, 4), (2, 5), (1, 4), (1, 5)]
        best = rig.registry.best
        assert best is not None
        assert [window.seeds for window in best.evidence] == [(4,), (5,)]
        assert [window.returns for window in best.evidence] == [(8.0,), (7.0,)]
        first = rig.registry.snapshots()[0]
        assert [window.returns for window in first.evidence] == [(4.0,), (8.0,), (6.0,), (5.0,)]
        assert first.eval_metrics.primary_score == 5.75
        assert report.best_window == 1

    def test_tests_that_have_cost_too_much_are_short(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {n: float(n) for n in range(1, 40)}, {})
        Rig(tmp_path, [0.0] * 30, agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator()).run()
        tests = len(val.played) - 30
        assert tests <= 30 + 5  # a step for two of training: hardly more than one window apiece

    def test_what_was_played_is_stored_and_survives(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {1: 5.0}, {1: 0.25})
        Rig(tmp_path, [0.0], agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator()).run()
        best = CheckpointRegistry(tmp_path).best
        assert best is not None
        assert PolicySnapshot.from_dict(json.loads(json.dumps(best.to_dict()))) == best
        returns = [value for window in best.evidence for value in window.returns]
        assert returns == [5.25, 5.0]


def test_thresholds_set_by_hand_are_obeyed_on_a_flat_start_as_on_any_plateau(tmp_path: Path) -> None:
    class Known(ScoreEvaluator):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
            metrics = super().score(episode_data, train_diagnostics)
            return EvalMetrics(metrics.primary_score, {"score_std_err": 0.0}, metrics.episode_id)

    flat = Rig(tmp_path / "flat", [-200.0] * 60, evaluator=Known(), dormant=12).run()
    assert (flat.reason, flat.windows) == ("converged", 1 + 12)
    late = Rig(tmp_path / "late", [-200.0] * 10 + [-150.0] * 40, evaluator=Known(), dormant=12).run()
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

        rig = Rig(tmp_path, [1.0, 2.0, 3.0], agent=Failing())
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

        report = Rig(tmp_path / "once", [1.0, 2.0, 3.0, 2.5, 4.0], evaluator=Failing({1, 3})).run()
        assert (report.best_score, report.health) == (4.0, {"evaluator": 2})
        rig = Rig(tmp_path / "always", [1.0, 2.0, 2.0, 2.0], evaluator=Failing({1, 2, 3}))
        with pytest.raises(LookupError):
            rig.run()
        assert rig.registry.best is not None

    def test_a_pipeline_that_raises_does_so_too_and_an_unscored_policy_is_saved(self, tmp_path: Path) -> None:
        class Failing(ScriptedPipeline):
            def episodes(self):
                yield from super().episodes()
                raise ConnectionError("env is gone")

        rig = Rig(tmp_path, [None])
        object.__setattr__(rig.parts, "pipeline", Failing([None], rig.agent))
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
        rig = Rig(tmp_path / "divergences", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], agent=agent)
        report = rig.run()
        assert (report.health, report.reason) == ({"divergence": 3}, "exhausted")
        assert [s.eval_metrics.primary_score for s in rig.registry.snapshots()] == [1.0, 4.0, 6.0]
        assert agent.params["learning_rate"] == pytest.approx(0.1 / 2**3)
        faults = [record.fault for record in rig.history()]
        assert [fault is not None for fault in faults] == [False, True, True, False, True, False]
        assert faults[1] is not None
        assert "policy_loss=nan in window 1" in faults[1]
        parked = Rig(tmp_path / "parked", [1.0, 2.0, 3.0, 4.0, 5.0], agent=Diverging({1, 2, 3}))
        with pytest.raises(NonFiniteError, match=r"policy_loss=nan in window 3.*snapshot 000000 is kept"):
            parked.run()
        assert [s.eval_metrics.primary_score for s in parked.registry.snapshots()] == [1.0]

    def test_a_callback_that_raises_is_logged_by_name_and_the_run_goes_on(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Clumsy(LoopCallback):
            def __getattribute__(self, name: str) -> Any:
                if name.startswith("on_"):
                    raise SystemExit(name) if name == "on_dormant" else RuntimeError(name)
                return super().__getattribute__(name)

        rig = Rig(tmp_path, [1.0] * 6)
        rig.controller._callbacks._callbacks.insert(0, Clumsy())
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

        rig = Rig(tmp_path, [1.0, 2.0], optimizer=FixedOptimizer([0.5]))
        rig.controller._callbacks._callbacks.insert(0, Meddler())
        report = rig.run()
        assert report.hyperparams == {"learning_rate": 0.5}
        assert rig.agent.params == {"learning_rate": 0.5}


def test_a_second_run_goes_on_with_the_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 2.0, 3.0, 4.0], max_episodes=2)
    assert rig.run().windows == 2
    object.__setattr__(rig.controller._config, "max_episodes", 4)
    report = rig.run()
    assert (report.windows, report.best_score) == (4, 4.0)
    assert [record.window_id for record in rig.history()] == [0, 1, 2, 3]


def test_the_report_accounts_for_all_time(tmp_path: Path) -> None:
    seconds = Rig(tmp_path, [1.0, 2.0], val_scores=[1.0, 2.0]).run().seconds
    assert seconds["total"] == pytest.approx(sum(v for k, v in seconds.items() if k != "total"))
    assert min(seconds.values()) > 0


def test_the_history_is_one_json_line_per_evaluated_window(tmp_path: Path) -> None:
    Rig(tmp_path, [1.0, None, 2.0]).run()
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["eval_metrics"]["primary_score"] for line in lines] == [1.0, None, 2.0]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"max_episodes": 0}, "max_episodes must be a whole number of at least 1"),
        ({"max_episodes": 2.5}, "max_episodes must be a whole number of at least 1"),
        ({"degradation_threshold": "1"}, r"degradation_threshold must be in \(0, 1\]"),
        ({"degradation_threshold": 0.0}, r"degradation_threshold must be in \(0, 1\]"),
        ({"degradation_threshold": 1.5}, r"degradation_threshold must be in \(0, 1\]"),
        ({"improvement_margin": -1.0}, "improvement_margin must be a finite number of at least 0"),
        ({"improvement_margin": math.nan}, "improvement_margin must be a finite number of at least 0"),
        ({"on_converged": "sleep"}, "'auto', 'stop' or 'watch'"),
    ],
)
def test_a_knob_out_of_range_is_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        LoopConfig(**knobs)


class ProbingOptimizer(FixedOptimizer):
    """Puts a value on trial at every second evaluation, and settles it at the next."""

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        self.probing = not self.probing
        return HyperparamSet({**hyperparams.params, "learning_rate": 0.9 if self.probing else 0.1})


@pytest.mark.parametrize("dormant", [4, 5])
def test_a_trial_is_settled_when_the_loop_falls_asleep_so_that_it_can_wake(tmp_path: Path, dormant: int) -> None:
    rig = Rig(tmp_path, [10.0] * 30 + [0.0] * 8, optimizer=ProbingOptimizer(), dormant=dormant, on_converged="watch")
    rig.run()
    assert rig.recorder.named("degradation")
    asleep = [record for record in rig.history() if record.state == "watchdog"]
    assert all(record.hyperparams.params["learning_rate"] == 0.1 for record in asleep[1:])


def test_a_second_run_after_it_converged_has_a_patience_of_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0] * 50)
    assert rig.run().windows == 5
    second = rig.run()
    assert (second.reason, second.windows) == ("converged", 9)


@pytest.mark.parametrize("loss", [np.float32("nan"), np.array(np.inf), float("nan")])
def test_a_loss_of_any_number_type_that_is_not_finite_is_seen(tmp_path: Path, loss: Any) -> None:
    class Diverging(NumpyAgent):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            return {"loss": loss, "loss_kind": "mse", "loss_parts": [1.0]}

    with pytest.raises(NonFiniteError):
        Rig(tmp_path, [1.0] * 3, agent=Diverging()).run()


def test_a_suggestion_of_some_values_leaves_the_others(tmp_path: Path) -> None:
    class Partial(FixedOptimizer):
        def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
            return HyperparamSet({"learning_rate": 0.7})

    agent = NumpyAgent()
    agent.params["other"] = 3
    Rig(tmp_path, [1.0], agent=agent, optimizer=Partial()).run()
    assert agent.params == {"learning_rate": 0.7, "other": 3}


def test_a_callback_with_only_some_of_the_hooks_will_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Bare:
        stopped = False

        def on_loop_stop(self) -> None:
            self.stopped = True

    rig, bare = Rig(tmp_path, [1.0]), Bare()
    rig.controller._callbacks._callbacks.append(bare)
    rig.run()
    assert bare.stopped
    assert not caplog.records
