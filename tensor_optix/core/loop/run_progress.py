"""What a run has cost and met so far, why it is to end, and the status and the report drawn from it.

No decision depends on anything here but the wish to end, and where validation overruns its share of the time.
"""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tensor_optix.core.decisions.cut_episodes import limit_of
from tensor_optix.core.decisions.escape_records import EscapeRecord, failed_since_kept, with_best
from tensor_optix.core.decisions.final_score import FinalScore
from tensor_optix.core.decisions.intervals import ScoreInterval, Span
from tensor_optix.core.decisions.untrained import advice, start_of
from tensor_optix.core.decisions.validation_budget import ValidationSpent
from tensor_optix.core.loop.decider import patience_with
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.ordered_evaluator import who_scored
from tensor_optix.core.loop.parts import LoopConfig, LoopParts, LoopStatus
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.standing import best_interval, is_confirmed, seen_span
from tensor_optix.core.loop.watchdog import Watchdog
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.support.plain import SavedState
from tensor_optix.support.schemas import rebuilt

_PHASES = ("collect", "learn", "validate")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The counts and times of a run, as they are saved."""

    tuning: Mapping[str, float]
    watch: Mapping[str, int]
    faults: Mapping[str, int]
    faults_in_a_row: Mapping[str, int]
    failed_episodes: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    seconds: Mapping[str, float]
    total_seconds: float


@dataclass
class RunProgress:
    """Counters, clock and the wish to end."""

    clock: Callable[[], float]
    """Monotonic seconds."""
    reason: StopReason | None = None
    """Why the run is to end; None while it goes on."""
    ended: StopReason | None = None
    """Why there is nothing left to do, also where the user has asked for an end first; None while there is."""
    stop_asked: bool = False
    is_ahead: bool | None = None
    """Whether the best is ahead of the untrained policy, as it was found at the end; None = not known."""
    test: FinalScore | None = None
    """What the best was worth on the test pipeline; None before the run has ended, or without one."""
    is_urgent: bool = False
    """True if a signal has asked for it: validation is left between two steps."""
    doing: str = ""
    """The part that is at work, see `timed`."""
    is_over: bool = False
    """True once a run has ended, whose reason then says nothing about the next one."""
    tuning: dict[str, float] = field(default_factory=dict[str, float])
    """Counts of what tuning did, and what it cost."""
    watch: dict[str, int] = field(default_factory=dict[str, int])
    """Counts of what happened on watch."""
    health: Health = field(default_factory=Health)
    """Faults that the run has met."""
    watchdog: Watchdog = field(default_factory=Watchdog)
    """What notices that the run hangs."""
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_PHASES, 0.0))
    _seconds_before: float = 0.0
    _started: float | None = None

    def stop(self, reason: StopReason) -> None:
        """Ask for an end after the window in progress, or before the next run's first one; the first reason counts."""
        self._forget()
        self.reason = self.reason or reason
        if reason.is_final:
            self.ended = self.ended or reason
        self.stop_asked = True

    def start(self) -> None:
        """Let the clock run; what ended an earlier run is forgotten."""
        self._forget()
        self.ended = None
        self._started = self.clock()

    def _forget(self) -> None:
        if self.is_over:
            self.reason, self.ended, self.is_ahead, self.test = None, None, None, None
            self.stop_asked = self.is_urgent = self.is_over = False

    def halt(self) -> None:
        """Stop the clock."""
        self._seconds_before, self._started = self.total_seconds(), None

    def total_seconds(self) -> float:
        """Return the wall time of all runs."""
        return self._seconds_before + (self.clock() - self._started if self._started is not None else 0.0)

    @contextmanager
    def timed(self, what: str) -> Generator[None]:
        """Add the time of the block to `seconds[what]`."""
        start, before = self.clock(), self.doing
        self.doing = what
        try:
            with self.watchdog.at(what):
                yield
        finally:
            self.doing = before
            self.seconds[what] += self.clock() - start

    def seconds_by_part(self, total: float) -> dict[str, float]:
        """Return the wall time of all runs, `total`, by part of the loop; what is no phase's is the loop's own."""
        return {**self.seconds, "loop": total - sum(self.seconds.values())}

    def count_tuning(self, what: str, amount: float = 1.0) -> None:
        """Add to one of the counts of tuning."""
        self.tuning[what] = self.tuning.get(what, 0.0) + amount

    def count_watch(self, what: str) -> None:
        """Add to one of the counts of the watch."""
        self.watch[what] = self.watch.get(what, 0) + 1

    def totals(self) -> dict[str, object]:
        """Return the counts and times as plain JSON values."""
        totals = Totals(
            tuning=dict(self.tuning),
            watch=dict(self.watch),
            faults=dict(self.health.counts),
            faults_in_a_row=dict(self.health.in_a_row),
            failed_episodes={kind: dict(reasons) for kind, reasons in self.health.failed_episodes.items()},
            seconds=dict(self.seconds),
            total_seconds=self.total_seconds(),
        )
        return dict(vars(totals))

    def go_on_from(self, saved: SavedState, ended: StopReason | None) -> None:
        """Go on from what `totals` returned, and from why the run had nothing left to do.

        Raises:
            CheckpointCorruptError: a count is missing or of another type; the message names it.
        """
        totals = rebuilt(Totals, saved)
        self.ended = ended
        self.tuning, self.watch = dict(totals.tuning), dict(totals.watch)
        self.health.counts, self.health.in_a_row = dict(totals.faults), dict(totals.faults_in_a_row)
        self.health.failed_episodes = {kind: dict(reasons) for kind, reasons in totals.failed_episodes.items()}
        self.seconds |= totals.seconds
        self._seconds_before = totals.total_seconds


def status(state: RunState, progress: RunProgress, parts: LoopParts, config: LoopConfig) -> LoopStatus:
    """Return where the run stands, for whoever shows it."""
    name = parts.optimizer.probed_param
    return LoopStatus(
        state=state.position.state,
        window_id=state.window_id,
        env_steps=state.env_steps,
        seconds=progress.total_seconds(),
        metrics=state.metrics,
        best=state.best,
        probed_param=name,
        probed_value=parts.agent.get_hyperparams().params.get(name) if name else None,
        windows_to_evaluation=max(state.next_evaluation - state.window_id, 0),
        no_improvement=state.position.no_improvement,
        dormant_threshold=config.scheduler.dormant_threshold,
        patience=_patience_text(state, config),
        validation=_cost(state.validation),
        watch=dict(progress.watch),
        span=span_of_run(state, parts),
        doing=progress.doing,
    )


def report(state: RunState, progress: RunProgress, parts: LoopParts, config: LoopConfig) -> TrainingReport:
    """Return what the run has come to."""
    best, last = state.best, state.metrics
    total, span = progress.total_seconds(), span_of_run(state, parts)
    start = start_of(state.start, state.first, span)
    interval = best_interval(best, span) if best else None
    return TrainingReport(
        reason=(progress.reason or StopReason.STOPPED).value,
        best_score=best.eval_metrics.primary_score if best else math.nan,
        best_std_err=_std_err(best.eval_metrics.std_err, interval) if best else math.nan,
        best_window=best.window_id if best else None,
        best_snapshot=str(parts.registry.path_of(best)) if best else None,
        train_score=last.metrics.get("train_score", last.primary_score) if last else math.nan,
        val_score=last.metrics.get("val_score", math.nan) if last else math.nan,
        generalization_gap=best.eval_metrics.generalization_gap if best else math.nan,
        windows=state.window_id + 1,
        evaluations=state.evaluations,
        not_finite=_not_finite(state, parts),
        env_steps=state.env_steps,
        seconds={"total": total, **progress.seconds_by_part(total)},
        hyperparams=dict(best.hyperparams.params) if best else {},
        checkpoint_dir=str(parts.registry.directory),
        tuning=dict(progress.tuning),
        watch=dict(progress.watch),
        health=dict(progress.health.counts),
        failed_episodes={kind: dict(reasons) for kind, reasons in progress.health.failed_episodes.items()},
        best_interval=interval,
        best_limit=limit_of(best.evidence) if best else None,
        confirmed=best is not None and is_confirmed(best),
        escapes=_escapes(state),
        validation=_cost(state.validation),
        stopped_because=_stopped_because(state, config),
        start_score=start.score if start else math.nan,
        start_std_err=_std_err(start.std_err, start.interval) if start else math.nan,
        start_interval=start.interval if start else None,
        start_limit=limit_of(state.start),
        ahead_of_start=progress.is_ahead,
        advice=_advice(state, progress, config),
        test=progress.test,
    )


def _not_finite(state: RunState, parts: LoopParts) -> str:
    """Return whose scores are no finite numbers, where for that reason nothing could be the best."""
    if state.best is not None:
        return ""
    scored = (record.eval_metrics for record in parts.history)
    metrics = next((m for m in scored if m.has_evidence and not m.is_usable), None)
    return "" if metrics is None else f"{who_scored(parts.evaluator, metrics)} gave {metrics.primary_score}"


def _std_err(found: float, interval: ScoreInterval | None) -> float:
    return found if interval is None else interval.std_err(found)


def _escapes(state: RunState) -> tuple[EscapeRecord, ...]:
    return with_best(state.escapes, None if state.best is None else state.best.window_id)


def _stopped_because(state: RunState, config: LoopConfig) -> str:
    """Return how far the patience was used up; after escapes in vain, which it does not count, when they began."""
    if not state.evaluations:
        return ""
    in_vain = failed_since_kept(_escapes(state))
    if not in_vain or state.escape is not None:
        return str(patience_with(state, config))
    return f"{state.used_up}, then {in_vain} escape{'s' * (in_vain > 1)} in vain"


def _cost(spent: ValidationSpent) -> dict[str, int]:
    return {"steps": spent.steps, "put_off": spent.put_off, "by_clock": spent.by_clock, "cut": spent.cut}


def _advice(state: RunState, progress: RunProgress, config: LoopConfig) -> str:
    is_unscored = state.best is None and state.window_id >= 0 and state.episodes == 0
    if not is_unscored and (progress.is_ahead is not False or config.is_reached(state.best_score)):
        return ""
    return advice(
        episodes=state.episodes,
        is_flat=state.is_flat_start,
        score=math.nan if state.best_score is None else state.best_score,
        is_cut_short=progress.reason not in (StopReason.CONVERGED, StopReason.BUDGET, StopReason.NOTHING_LEARNED),
        is_by_hand=not config.patience.is_scaled,
        has_target=config.patience.target is not None or config.target_score is not None,
        has_tried_other=any(one.is_other_algorithm and one.steps > 0 for one in state.escapes),
    )


def _patience_text(state: RunState, config: LoopConfig) -> str:
    """Return how far the patience is used up, or the escape in progress; empty where there is neither."""
    if state.is_on_watch or not config.patience.is_scaled:
        return ""
    return str(patience_with(state, config)) if state.escape is None else f"used up; escape {state.escape.text}"


def span_of_run(state: RunState, parts: LoopParts) -> Span | None:
    """Return the lowest and highest return or score that a run has seen; None where it has seen none."""
    evaluations = [record.eval_metrics for record in parts.history if record.window_id >= state.era_began]
    return seen_span([*evaluations, *state.recent], [state.best] if state.best else [])
