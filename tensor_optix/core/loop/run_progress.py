"""What a run has come to so far: its counters and its clock, and the status and the report drawn from them."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tensor_optix.core.backoff_scheduler import SchedulerState
from tensor_optix.core.decisions.trend import MEMORY, Verdict
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.loop.parts import LoopConfig, LoopParts, LoopStatus
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.types import EvalMetrics, PolicySnapshot

_COUNTERS = ("window_id", "next_evaluation", "env_steps", "test_steps", "evaluations", "era_began")


@dataclass
class RunProgress:
    """Counters that the loop moves on."""

    clock: Callable[[], float]
    """Monotonic seconds; no decision depends on it."""
    reason: StopReason | None = None
    """Why the run is to end; None while it goes on."""
    ended: StopReason | None = None
    """Why there is nothing left to do, also where the user has asked for an end first; None while there is."""
    stop_asked: bool = False
    is_over: bool = False
    """True once a run has ended, whose reason then tells nothing of the next one."""
    best: PolicySnapshot | None = None
    metrics: EvalMetrics | None = None
    """The last usable evaluation."""
    recent: deque[EvalMetrics] = field(default_factory=lambda: deque(maxlen=MEMORY))
    """The newest usable evaluations, in the order of time."""
    window_id: int = -1
    next_evaluation: int = 0
    """Window that is due."""
    env_steps: int = 0
    test_steps: int = 0
    """Steps that candidates for the best were tested with."""
    evaluations: int = 0
    era_began: int = 0
    """Window from which on scores compare with each other."""
    tuning: dict[str, float] = field(default_factory=dict)
    """Counts of what tuning did, and what it cost."""
    watch: dict[str, int] = field(default_factory=dict)
    """Counts of what happened on watch."""
    health: Health = field(default_factory=Health)
    """Faults that the run has met."""
    seconds: dict[str, float] = field(default_factory=lambda: {"collect": 0.0, "learn": 0.0, "validate": 0.0})
    _lived_seconds: float = 0.0
    _started: float | None = None

    @property
    def best_score(self) -> float | None:
        """Score of the best snapshot, None before there is one."""
        return self.best.eval_metrics.primary_score if self.best is not None else None

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
            self.reason, self.ended, self.stop_asked, self.is_over = None, None, False, False

    def halt(self) -> None:
        """Stop the clock."""
        self._lived_seconds, self._started = self.total_seconds(), None

    def total_seconds(self) -> float:
        """Return the wall time of all runs."""
        return self._lived_seconds + (self.clock() - self._started if self._started is not None else 0.0)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time of the block to `seconds[what]`."""
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[what] += self.clock() - start

    def state_dict(self) -> dict[str, Any]:
        """Return the counters as plain JSON values; the recent evaluations are in the history."""
        return {
            "ended": self.ended.value if self.ended else None,
            "best": self.best.to_dict() if self.best else None,
            **{name: getattr(self, name) for name in _COUNTERS},
            "tuning": dict(self.tuning),
            "watch": dict(self.watch),
            "health": self.health.state_dict(),
            "seconds": dict(self.seconds),
            "lived_seconds": self.total_seconds(),
        }

    def load_state_dict(self, state: Mapping[str, Any], history: Iterable[HistoryRecord]) -> None:
        """Go on from `state_dict`.

        Args:
            state: what it returned.
            history: the newest records, in the order of time.
        """
        self.ended = StopReason(state["ended"]) if state["ended"] else None
        self.best = PolicySnapshot.from_dict(state["best"]) if state["best"] else None
        for name in _COUNTERS:
            setattr(self, name, int(state[name]))
        usable = [record for record in history if record.verdict != Verdict.NO_EVIDENCE.value]
        self.metrics = usable[-1].eval_metrics if usable else None
        self.recent.clear()
        self.recent.extend(record.eval_metrics for record in usable if record.window_id >= self.era_began)
        self.tuning = {name: float(count) for name, count in state["tuning"].items()}
        self.watch = {name: int(count) for name, count in state["watch"].items()}
        self.health.load_state_dict(state["health"])
        self.seconds |= {name: float(seconds) for name, seconds in state["seconds"].items()}
        self._lived_seconds = float(state["lived_seconds"])

    def count_tuning(self, what: str, amount: float = 1.0) -> None:
        """Add to one of the counts of tuning."""
        self.tuning[what] = self.tuning.get(what, 0.0) + amount

    def count_watch(self, what: str) -> None:
        """Add to one of the counts of the watch."""
        self.watch[what] = self.watch.get(what, 0) + 1

    def status(self, parts: LoopParts, config: LoopConfig, position: SchedulerState) -> LoopStatus:
        """Return where the run stands."""
        name = parts.optimizer.probed_param
        return LoopStatus(
            state=position.state,
            window_id=self.window_id,
            env_steps=self.env_steps,
            seconds=self.total_seconds(),
            metrics=self.metrics,
            best=self.best,
            probed_param=name,
            probed_value=parts.agent.get_hyperparams().params.get(name) if name else None,
            windows_to_evaluation=max(self.next_evaluation - self.window_id, 0),
            no_improvement=position.no_improvement,
            dormant_threshold=config.scheduler.dormant_threshold,
            watch=dict(self.watch),
        )

    def report(self, parts: LoopParts) -> TrainingReport:
        """Return what the run came to."""
        best, last = self.best, self.metrics
        total = self.total_seconds()
        return TrainingReport(
            reason=(self.reason or StopReason.STOPPED).value,
            best_score=best.eval_metrics.primary_score if best else math.nan,
            best_std_err=best.eval_metrics.std_err if best else math.nan,
            best_window=best.window_id if best else None,
            best_snapshot=str(parts.registry.path_of(best)) if best else None,
            train_score=last.metrics.get("train_score", last.primary_score) if last else math.nan,
            val_score=last.metrics.get("val_score", math.nan) if last else math.nan,
            generalization_gap=best.eval_metrics.generalization_gap if best else math.nan,
            windows=self.window_id + 1,
            evaluations=self.evaluations,
            env_steps=self.env_steps,
            seconds={"total": total, **self.seconds, "loop": total - sum(self.seconds.values())},
            hyperparams=dict(best.hyperparams.params) if best else {},
            checkpoint_dir=str(parts.registry.directory),
            tuning=dict(self.tuning),
            watch=dict(self.watch),
            health=dict(self.health.counts),
        )
