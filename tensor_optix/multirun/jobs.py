"""What workers run: training one run, and playing the best policy of one."""

import math
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tensor_optix._run_reports import read_report
from tensor_optix._trained_runs import best_policy
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.final_evaluation import LEADER_STEPS
from tensor_optix.core.loop.parts import LoopStatus
from tensor_optix.core.loop.selection import play
from tensor_optix.core.loop.tested import Tested
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import InvalidArgumentError, JobCancelledError
from tensor_optix.executors import Context, Payload
from tensor_optix.executors.executor import Outcome, Paused
from tensor_optix.factory import set_threads
from tensor_optix.runs import RunDescription
from tensor_optix.support.plain import Json, jsonable

PAUSE_FACTOR = 10.0
"""A run gives its worker to others after it has learned for so many times what it took to begin."""
TRAIN, PLAY = "tensor_optix.multirun.jobs:train_run", "tensor_optix.multirun.jobs:play_best"


def item_of(run_dir: Path, allow_modules: Sequence[str], **more: object) -> Payload:
    """Return what a job about the run in a folder is sent.

    Args:
        run_dir: the folder.
        allow_modules: what the name of its environment may import.
        **more: values that the job takes besides.
    """
    return Payload({"run_dir": str(run_dir), "allow_modules": allow_modules, **more})


def train_run(item: Payload, context: Context) -> Payload:
    """Train the run whose `run.json` is in a folder until it ends, or go on with it where it was.

    Args:
        item: values `run_dir` and `allow_modules`.
        context: told after each window.

    Returns:
        The `reason` of the end.

    Raises:
        Paused: others wait for the worker; the run is saved, and goes on when this is called again.
    """
    report = trained(Path(item.values["run_dir"]), item.values["allow_modules"], context, may_pause=True)
    return Payload({"reason": report.reason})


class Stopping(LoopCallback):
    """An observer that may end the run."""

    stop: Callable[[], None] | None = None
    """Ends it after the window in progress."""


def trained(
    run_dir: Path,
    allow_modules: Sequence[str],
    context: Context,
    observer: Stopping | None = None,
    begin: Callable[[BaseAgent, BasePipeline], object] | None = None,
    *,
    may_pause: bool = False,
) -> TrainingReport:
    """Train the run in a folder, or go on with it where it was, and return its report.

    Args:
        run_dir: the folder.
        allow_modules: what the name of its environment may import.
        context: told after each window.
        observer: who else observes.
        begin: see `RunDescription.optimizer`.
        may_pause: True where it gives its worker to others that wait.

    Raises:
        Paused: it has.
    """
    run = RunDescription.read(run_dir, allow_modules)
    set_threads(run.framework, run.threads)
    teller = Teller(context, may_pause=may_pause)
    observers = [teller] if observer is None else [teller, observer]
    optimizer = run.optimizer(run_dir, resume=True, progress=False, callbacks=observers, begin=begin)
    teller.status = lambda: optimizer.status
    if observer is not None:
        observer.stop = optimizer.stop
    report = optimizer.run()
    if report.reason == StopReason.INTERRUPTED.value:
        if teller.has_paused and not context.is_cancelled:
            raise Paused
        context.tell({"interrupted": True})
    return report


def has_ended(run_dir: Path, run: RunDescription) -> bool:
    """Return whether the run in a folder has ended, by the bounds that it has now.

    Args:
        run_dir: the folder.
        run: what it trains.
    """
    report = read_report(run_dir)
    if report is None:
        return False
    reason = StopReason(report.reason)
    if reason is StopReason.MAX_STEPS:
        return run.max_steps is not None and report.env_steps >= run.max_steps
    if reason is StopReason.MAX_EPISODES:
        return run.max_episodes is not None and report.windows >= run.max_episodes
    if reason is StopReason.TARGET:
        return run.target_score is not None and report.best_score >= run.target_score
    return reason.is_final


def refuse_interrupted(outcomes: Sequence[Outcome]) -> None:
    """Raise `JobCancelledError` where one of several runs was interrupted: the job as a whole is."""
    for outcome in outcomes:
        is_interrupted = isinstance(outcome, Payload) and outcome.values["reason"] == StopReason.INTERRUPTED.value
        if isinstance(outcome, JobCancelledError) or is_interrupted:
            raise JobCancelledError("The runs were interrupted.")


class Teller(LoopCallback):
    """Tells how far a run is, and ends it in order when its job is cancelled, or others wait for its worker.

    For those it has ended once it has learned for so long that to go on later costs little.

    Args:
        context: of the job.
        may_pause: True where it ends for others.
        clock: monotonic seconds.
    """

    def __init__(
        self, context: Context, *, may_pause: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._context, self._may_pause, self._clock = context, may_pause, clock
        self._made, self._ready = clock(), math.inf
        self._has_asked = False
        self.has_paused = False
        """True once it has ended the run for others."""
        self.status: Callable[[], LoopStatus] | None = None
        """Where the run stands."""

    def on_window_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Tell, and look whether the run is to end."""
        if self.status is not None:
            self._context.tell(told(self.status()))
        self._ready = min(self._ready, self._clock())  # the first window has what is made anew each time
        self.has_paused = self.has_paused or (self._is_waited_for() and not self._has_asked)
        if (self._context.is_cancelled or self.has_paused) and not self._has_asked:
            self._has_asked = True
            signal.raise_signal(signal.SIGTERM)  # what the loop listens to: it saves, and can be resumed

    def _is_waited_for(self) -> bool:
        is_worth_it = self._clock() - self._ready >= PAUSE_FACTOR * (self._ready - self._made)
        return self._may_pause and is_worth_it and self._context.is_waited_for


def told(status: LoopStatus) -> dict[str, Json]:
    """Return where a run stands, as JSON values."""
    found = {
        "windows": status.window_id + 1,
        "steps": status.env_steps,
        "state": status.state.name,
        "score": None if status.metrics is None else status.metrics.primary_score,
        "best": None if status.best is None else status.best.eval_metrics.primary_score,
    }
    return jsonable(found)


def play_best(item: Payload, context: Context) -> Payload:
    """Let the best policy of a run play greedy episodes.

    Args:
        item: values `run_dir`, `allow_modules`, and `windows`, a list of seeds each, one per episode.
        context: of the job.

    Returns:
        `returns`: of each window that was played, the return of each episode; `steps`: how many it took. A window is
        the last one where so many steps have been taken as for a long test of one run.
    """
    name, training, _ = best_policy(Path(item.values["run_dir"]), item.values["allow_modules"])
    windows = item.values["windows"]
    pipeline = training.validation_pipeline(max(map(len, windows)), 0)
    if pipeline is None:
        raise InvalidArgumentError(f"{name} cannot be made anew, so it cannot be played for a last test.")
    tested = play(pipeline, EpisodeReturnEvaluator(), windows, max_steps=LEADER_STEPS)
    pipeline.teardown()
    training.teardown()
    return played(tested)


def played(tested: Tested) -> Payload:
    """Return what a last test is told of windows that were played; see `final_test_on`."""
    returns = [list(window.returns) for window in tested.evidence]
    return Payload({"returns": returns, "steps": [window.length for window in tested.windows]})
