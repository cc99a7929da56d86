"""Counts, clock and the wish to end; the status and the report that are drawn from them."""

import math
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler, SchedulerState
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_progress import RunProgress, report, status
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError
from tests.fakes.histories import record
from tests.fakes.loops import FixedOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class TestClock:
    def test_only_the_time_between_start_and_halt_counts_and_runs_add_up(self) -> None:
        clock = Clock()
        progress = RunProgress(clock)
        clock.now = 5.0
        assert progress.total_seconds() == 0.0
        progress.start()
        clock.now = 7.0
        assert progress.total_seconds() == 2.0
        progress.halt()
        clock.now = 100.0
        assert progress.total_seconds() == 2.0
        progress.start()
        clock.now = 101.0
        assert progress.total_seconds() == 3.0

    def test_a_phase_is_timed_though_it_raises(self) -> None:
        clock = Clock()
        progress = RunProgress(clock)

        def fail_after(seconds: float) -> None:
            with progress.timed("learn"):
                clock.now = seconds
                raise LookupError

        with pytest.raises(LookupError):
            fail_after(3.0)
        with progress.timed("learn"):
            clock.now = 4.0
        assert progress.seconds == {"collect": 0.0, "learn": 4.0, "validate": 0.0}


class TestTheWishToEnd:
    def test_the_first_reason_counts(self) -> None:
        progress = RunProgress(Clock())
        progress.stop(StopReason.STOPPED)
        progress.stop(StopReason.ERROR)
        assert (progress.reason, progress.stop_asked) == (StopReason.STOPPED, True)

    def test_what_leaves_nothing_to_do_is_known_though_the_user_has_asked_first(self) -> None:
        progress = RunProgress(Clock())
        progress.stop(StopReason.INTERRUPTED)
        assert progress.ended is None
        progress.stop(StopReason.CONVERGED)
        assert (progress.reason, progress.ended) == (StopReason.INTERRUPTED, StopReason.CONVERGED)

    def test_a_stop_before_the_first_window_holds_when_the_run_begins(self) -> None:
        progress = RunProgress(Clock())
        progress.stop(StopReason.STOPPED)
        progress.start()
        assert (progress.reason, progress.stop_asked) == (StopReason.STOPPED, True)

    def test_the_end_of_one_run_is_not_that_of_the_next(self) -> None:
        progress = RunProgress(Clock())
        progress.stop(StopReason.CONVERGED)
        progress.is_over = True
        progress.start()
        assert (progress.reason, progress.ended, progress.stop_asked, progress.is_over) == (None, None, False, False)

    def test_a_stop_between_two_runs_is_for_the_next(self) -> None:
        progress = RunProgress(Clock())
        progress.stop(StopReason.CONVERGED)
        progress.is_over = True
        progress.stop(StopReason.STOPPED)
        assert (progress.reason, progress.ended, progress.is_over) == (StopReason.STOPPED, None, False)


def counted() -> RunProgress:
    progress = RunProgress(Clock())
    progress.count_tuning("probes")
    progress.count_tuning("probing_seconds", 2.5)
    progress.count_tuning("probing_seconds", 0.5)
    progress.count_watch("drifts")
    progress.count_watch("drifts")
    progress.health.fault("window")
    progress.health.fault("learn")
    progress.health.clear("learn")
    progress.health.name_failures("raised", {"The environment raised in step: LookupError: no": 2})
    return progress


class TestTotals:
    def test_counts_begin_at_nothing_and_add_up(self) -> None:
        totals = counted().totals()
        assert totals["tuning"] == {"probes": 1.0, "probing_seconds": 3.0}
        assert totals["watch"] == {"drifts": 2}
        assert totals["faults"] == {"window": 1, "learn": 1}
        assert totals["faults_in_a_row"] == {"window": 1}
        assert totals["failed_episodes"] == {"raised": {"step: LookupError: no": 2}}

    def test_a_resumed_run_goes_on_counting(self) -> None:
        clock = Clock()
        progress = counted()
        progress.start()
        progress.clock.now = 9.0  # type: ignore[attr-defined]
        again = RunProgress(clock)
        again.go_on_from(progress.totals(), StopReason.CONVERGED)
        assert again.totals() == progress.totals()
        assert (again.ended, again.reason) == (StopReason.CONVERGED, None)
        assert again.health.fault("window") == 2
        again.health.name_failures("raised", {"Environment 0 of 4 raised in step: LookupError: no": 1})
        assert again.health.failed_episodes == {"raised": {"step: LookupError: no": 3}}
        again.start()
        clock.now = 1.0
        assert again.total_seconds() == 10.0

    def test_a_run_that_was_saved_before_reasons_were_counted_goes_on_without(self) -> None:
        totals = counted().totals()
        del totals["failed_episodes"]
        again = RunProgress(Clock())
        again.go_on_from(totals, None)
        assert again.health.failed_episodes == {}

    def test_what_is_saved_is_a_copy(self) -> None:
        progress = counted()
        totals = progress.totals()
        progress.count_watch("drifts")
        assert totals["watch"] == {"drifts": 2}

    @pytest.mark.parametrize(
        ("change", "named"), [({"tuning": {"probes": "many"}}, "tuning"), ({"total_seconds": "long"}, "total_seconds")]
    )
    def test_a_count_of_another_type_is_named(self, change: dict[str, Any], named: str) -> None:
        with pytest.raises(CheckpointCorruptError, match=named):
            RunProgress(Clock()).go_on_from({**counted().totals(), **change}, None)

    def test_a_count_that_is_missing_is_named(self) -> None:
        totals = counted().totals()
        del totals["watch"]
        with pytest.raises(CheckpointCorruptError, match="watch"):
            RunProgress(Clock()).go_on_from(totals, None)


class Probing(FixedOptimizer):
    probed_param = "learning_rate"


def parts(folder: Path, optimizer: FixedOptimizer | None = None) -> LoopParts:
    agent = NumpyAgent(learning_rate=0.3)
    return LoopParts(
        agent=agent,
        pipeline=ScriptedPipeline([], agent),
        val_pipeline=None,
        evaluator=ScoreEvaluator(),
        optimizer=optimizer or FixedOptimizer(),
        registry=CheckpointRegistry(folder),
        history=History(folder / "history.jsonl"),
    )


BEST = PolicySnapshot(
    snapshot_id="000003",
    sequence=3,
    window_id=5,
    eval_metrics=EvalMetrics(2.0, {"score_std_err": 0.5, "generalization_gap": 1.0}, 5),
    hyperparams=HyperparamSet({"learning_rate": 0.1}),
    created_at="2026-01-01T00:00:00",
)
STATE = RunState(
    position=SchedulerState(LoopState.COOLING, 4, 2),
    window_id=9,
    next_evaluation=12,
    env_steps=1000,
    evaluations=7,
    best=BEST,
    metrics=EvalMetrics(1.5, {"train_score": 2.5, "val_score": 1.5}),
)


class TestStatus:
    def test_it_shows_where_the_run_stands(self, tmp_path: Path) -> None:
        shown = status(STATE, counted(), parts(tmp_path), LoopConfig(scheduler=BackoffScheduler(dormant_threshold=9)))
        assert (shown.state, shown.window_id, shown.windows_to_evaluation) == (LoopState.COOLING, 9, 3)
        assert (shown.no_improvement, shown.dormant_threshold) == (2, 9)
        assert (shown.probed_param, shown.probed_value, shown.watch) == (None, None, {"drifts": 2})

    def test_a_value_on_trial_is_the_one_that_the_agent_has(self, tmp_path: Path) -> None:
        shown = status(STATE, counted(), parts(tmp_path, Probing()), LoopConfig())
        assert (shown.probed_param, shown.probed_value) == ("learning_rate", 0.3)

    def test_an_evaluation_that_is_late_is_not_in_the_past(self, tmp_path: Path) -> None:
        state = STATE.collected(1).collected(1).collected(1).collected(1)
        assert status(state, counted(), parts(tmp_path), LoopConfig()).windows_to_evaluation == 0


class TestReport:
    def test_it_holds_the_best_the_last_and_the_counts(self, tmp_path: Path) -> None:
        made = report(STATE, counted(), parts(tmp_path), LoopConfig())
        assert (made.best_score, made.best_std_err, made.best_window) == (2.0, 0.5, 5)
        assert (made.train_score, made.val_score, made.generalization_gap) == (2.5, 1.5, 1.0)
        assert (made.windows, made.evaluations, made.env_steps) == (10, 7, 1000)
        assert made.best_snapshot is not None
        assert "000003" in made.best_snapshot
        assert (made.hyperparams, made.health) == ({"learning_rate": 0.1}, {"window": 1, "learn": 1})
        assert made.failed_episodes == {"raised": {"step: LookupError: no": 2}}
        assert not made.confirmed

    def test_before_anything_was_scored_it_claims_nothing(self, tmp_path: Path) -> None:
        made = report(
            RunState(position=BackoffScheduler().initial()), RunProgress(Clock()), parts(tmp_path), LoopConfig()
        )
        assert math.isnan(made.best_score)
        assert math.isnan(made.train_score)
        assert (made.best_window, made.best_snapshot, made.best_interval, made.hyperparams) == (None, None, None, {})
        assert made.windows == 0

    def test_the_loop_has_taken_what_the_phases_have_not(self, tmp_path: Path) -> None:
        progress = RunProgress(Clock())
        progress.start()
        with progress.timed("learn"):
            progress.clock.now = 3.0  # type: ignore[attr-defined]
        progress.clock.now = 5.0  # type: ignore[attr-defined]
        seconds = report(STATE, progress, parts(tmp_path), LoopConfig()).seconds
        assert seconds == {"total": 5.0, "collect": 0.0, "learn": 3.0, "validate": 0.0, "loop": 2.0}

    @pytest.mark.parametrize(("asked", "said"), [(StopReason.BUDGET, "budget"), (None, "stopped")])
    def test_a_run_that_is_under_way_is_reported_as_stopped(
        self, tmp_path: Path, asked: StopReason | None, said: str
    ) -> None:
        progress = RunProgress(Clock())
        if asked is not None:
            progress.stop(asked)
        assert report(STATE, progress, parts(tmp_path), LoopConfig()).reason == said

    def test_the_interval_is_bounded_by_what_this_era_has_seen(self, tmp_path: Path) -> None:
        whole = parts(tmp_path)
        whole.history.append(record(1, eval_metrics=EvalMetrics(-900.0, {}, 1)))
        whole.history.append(record(6, eval_metrics=EvalMetrics(4.0, {}, 6)))
        old = status(STATE, counted(), whole, LoopConfig()).span
        new = status(RunState(**{**vars(STATE), "era_began": 5}), counted(), whole, LoopConfig()).span
        whole.history.close()
        assert old is not None
        assert new is not None
        assert (old[0], new[0]) == (-900.0, 4.0)
