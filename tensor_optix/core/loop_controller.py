"""The loop: collect, learn, score, decide, execute, record.

In pseudo-code, with the hooks:

    # <on_loop_start>
    the untrained policy plays
    for window in pipeline.episodes():                              # the agent acts
        state = state.collected(window)
        outcome = watch.observe(window) if state.is_on_watch else training.step(window)
        state, effects = decide(state, outcome)                     # pure, one table
        for effect in effects:                                      # the only writer of best, learner and disk
            CHECKPOINT:  registry.commit(...)                       # <on_improvement>
            DEGRADATION: restore the best, if asked                 # <on_degradation>
            PLATEAU:                                                # <on_plateau>
            DORMANT:     dormancy.next(): learn on, escape, stop, watch  # <on_dormant>
            TUNE:        agent.set_hyperparams(optimizer.suggest(...))  # <on_hyperparam_update>
        record the outcome
        # <on_window_end>, <on_episode_end>
    settle the best policy, compare it with the untrained one, and restore it
    # <on_loop_stop>

The names of a turn: `Run` (what the parts share: the state, the learner's slot, the registry, the history, the
callbacks, the costs), `RunState` (where it stands), `Outcome` (what a window came to), `Training` and `Watch` (what
makes an outcome of a window), `decide` (what follows), `Effect` and `Act` (what is to be done), `Execution` (does it),
`Dormancy` (what follows when a learner has ended).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.decisions.succession import Successor
from tensor_optix.core.decisions.validation_budget import LEARNED_SHARE
from tensor_optix.core.loop.beside import Beside
from tensor_optix.core.loop.championship import Championship
from tensor_optix.core.loop.closing import closing_steps
from tensor_optix.core.loop.collecting import Collecting
from tensor_optix.core.loop.decider import decide
from tensor_optix.core.loop.dormancy import Dormancy
from tensor_optix.core.loop.escaping import Escaping
from tensor_optix.core.loop.execution import Execution
from tensor_optix.core.loop.keeping import Keeping
from tensor_optix.core.loop.learning import Learning
from tensor_optix.core.loop.ordered_evaluator import ordered
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.parts import LoopConfig, LoopParts, LoopStatus
from tensor_optix.core.loop.resuming import KeepsRunState, by_name
from tensor_optix.core.loop.run import new_run
from tensor_optix.core.loop.run_ending import take_steps
from tensor_optix.core.loop.run_events import events_of
from tensor_optix.core.loop.run_progress import report, status
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scheduling import Scheduling, schedules_of
from tensor_optix.core.loop.scoring import Scorer
from tensor_optix.core.loop.target import Target
from tensor_optix.core.loop.training import Training
from tensor_optix.core.loop.untrained import Untrained
from tensor_optix.core.loop.watch import Watch
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.storage.resume_ring import ResumePoint
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.types import EpisodeData, LoopState
from tensor_optix.support.signals import stop_on_signals

logger = logging.getLogger(__name__)


class LoopController:
    """Runs the picture above. What is to be done is decided by `decide`; this wires the parts and takes the turns.

    Args:
        parts: the objects to bring together.
        config: the knobs.
        callbacks: what observes, in the order of being told. One that is a `Successor` is also asked what follows when
            a learner has ended.
        clock: monotonic seconds; no decision depends on it.
    """

    def __init__(
        self,
        parts: LoopParts,
        config: LoopConfig,
        callbacks: Sequence[LoopCallback] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        parts = replace(parts, evaluator=ordered(parts.evaluator))
        self._run = run = new_run(parts, config, callbacks, clock)
        slot, progress, registry = run.slot, run.progress, parts.registry
        self._successors = [callback for callback in callbacks if isinstance(callback, Successor)]
        scorer = Scorer(slot, registry, parts.evaluator, parts.val_pipeline, config, progress)
        learning = Learning(slot, registry, parts.optimizer, progress.health)
        scheduling = Scheduling(slot, schedules_of(parts.agent), config)
        self._training = Training(slot, registry, parts.optimizer, learning, scorer, progress, scheduling)
        detector, margin = parts.drift_detector, config.improvement_margin
        self._watch = Watch(slot, registry, parts.evaluator, detector, scorer, learning, margin)
        self._collecting = Collecting(parts.pipeline, learning, progress)
        self._validation = validation = scorer.validation
        self._championship = Championship(run, self._watch)
        self._execution = Execution(run, learning, self._championship, validation)
        self._untrained = Untrained(run, validation)
        self._escaping = Escaping(run, validation, lambda: self._execution.settle(part=LEARNED_SHARE))
        self._target = Target(run, validation, lambda: self._execution.settle(asks_further=True))
        self._dormancy = Dormancy(
            self._execution,
            self._escaping,
            self._successors,
            progress,
            self.stop,
            watches=lambda: config.watches(is_live=parts.pipeline.is_live),
        )
        self._keeping = Keeping(run, by_name(callback for callback in callbacks if isinstance(callback, KeepsRunState)))
        self._beside = Beside(run, scorer, self._training, self._conclude_turn, self._keeping.save)
        for successor in self._successors:
            successor.join(slot)
        self._is_resumed = False
        self.ended_by: int | None = None
        """The signal that ended the run, if one did."""
        self.allow_module, self.is_confirmable = "", True
        """Of the report: what its commands allow to be imported, one a line; whether one of them confirms the best."""

    @property
    def agent(self) -> BaseAgent:
        """The agent that acts and learns at present."""
        return self._run.slot.agent

    @property
    def state(self) -> RunState:
        """Where the run stands, as one value."""
        return self._run.state

    @property
    def status(self) -> LoopStatus:
        """Where the run stands, for whoever shows it."""
        run = self._run
        return status(run.state, run.progress, replace(run.parts, agent=run.slot.agent), run.config)

    def report(self) -> TrainingReport:
        """Return what the run has come to so far."""
        run = self._run
        found = report(run.state, run.progress, run.parts, run.config)
        found = replace(found, allow_module=self.allow_module, is_confirmable=self.is_confirmable)
        for successor in self._successors:
            found = replace(found, evolution=successor.report())
        is_alike = self._validation.is_repetitive and self._validation.repetition.is_certain
        return replace(found, validation={**found.validation, "alike": 1}) if is_alike else found

    def stop(self, reason: StopReason = StopReason.STOPPED) -> None:
        """End the run after the window in progress, which a live pipeline leaves, with everything saved."""
        self._run.progress.stop(reason)
        self._run.parts.pipeline.interrupt()

    def _interrupt(self, signal_number: int) -> None:
        self.ended_by = signal_number
        self._run.progress.is_urgent = True
        self._run.progress.watchdog.hurry(signal_number)
        self.stop(StopReason.INTERRUPTED)

    def run(self) -> TrainingReport:
        """Run until trained, stopped, interrupted or out of windows. A second call goes on where the first ended.

        Raises:
            Exception: whatever the agent, a pipeline, the evaluator, the optimizer or a successor raised, after
                everything is saved.
        """
        progress = self._run.progress
        self._begin()
        self._run.callbacks.call("on_loop_start")
        with stop_on_signals(self._interrupt), progress.watchdog.watching():
            failed = True
            try:
                self._untrained.play()
                for window in self._beside.windows(self._collecting.windows()):
                    self._turn(window)
                    self._keeping.save()
                    if progress.reason is not None:
                        break
                else:  # a live pipeline that was told to stop waits for no further window
                    if progress.stop_asked and self._run.state.window_id >= 0 and self._run.state.pending is None:
                        self._keeping.save()
                progress.reason = progress.reason or StopReason.EXHAUSTED
                failed = False
            except KeyboardInterrupt:
                progress.reason, failed = StopReason.INTERRUPTED, False
            finally:
                self._close(failed)
        return self.report()

    def _begin(self) -> None:
        run, progress = self._run, self._run.progress
        ended = self._end_reached()
        if run.state.is_on_watch and not self._is_resumed:
            self._watch.act_again(run.state.watch)
        run.tell_start(is_resumed=self._is_resumed)
        self._is_resumed = False
        if run.state.position.state is LoopState.DORMANT and ended is None:
            run.change(position=self._run.config.scheduler.initial())
        progress.start()
        progress.reason = ended or progress.reason
        if self._run.parts.keeper is not None:
            self._run.parts.keeper.start()

    def _end_reached(self) -> StopReason | None:
        """Return why nothing is left to do (a bound is reached, a resumed run had ended); None where there is."""
        ended = self._run.progress.ended if self._is_resumed else None
        if ended not in (None, StopReason.MAX_EPISODES, StopReason.MAX_STEPS, StopReason.TARGET):
            return ended
        if self._target.is_confirmed:
            return StopReason.TARGET
        return self._bound_reached()

    def _turn(self, window: EpisodeData) -> None:
        run, progress = self._run, self._run.progress
        begun, was_probing = progress.total_seconds() - self._collecting.seconds, self._run.parts.optimizer.is_probing
        lengths = [episode.length for episode in window.completed_episodes()]
        run.state = run.state.collected(window.length, len(lengths), max(lengths, default=0))
        if run.state.is_on_watch:
            progress.count_watch("windows")
            outcome = self._watch.observe(run.state, window)
        else:
            outcome = self._training.step(run.state, window)
        run.tell_window(window, outcome.diagnostics)
        self._conclude_turn(outcome)
        if was_probing:
            progress.count_tuning("probing_windows")
            progress.count_tuning("probing_steps", window.length)
            progress.count_tuning("probing_seconds", progress.total_seconds() - begun)

    def _conclude_turn(self, outcome: Outcome) -> None:
        run, before = self._run, self._run.state
        try:
            run.state, effects = decide(run.state, outcome, self._run.config)
            for effect in effects:
                self._execution.execute(effect, outcome, self._dormancy.next)
            self._execution.record(outcome)
            for kind, facts in events_of(before, run.state, outcome):
                run.tell(kind, **facts)
        finally:
            if outcome.staged is not None:
                self._run.parts.registry.discard(outcome.staged)
        if outcome.pending is None:  # else the run goes on with the same window
            self._end_turn(outcome)
        run.change(validation=self._validation.spent)

    def _end_turn(self, outcome: Outcome) -> None:
        metrics = None if outcome.fault is not None else outcome.metrics
        for hook in ("on_window_end", "on_episode_end"):
            self._run.callbacks.call(hook, self._run.state.window_id, metrics)
        if self._dormancy.is_spent:
            self._dormancy.next(is_dormant=False)
        reached = self._bound_reached() or (StopReason.TARGET if self._target.is_reached() else None)
        if reached is not None:
            self.stop(reached)
        self._run.tell_time()  # last: whoever reads the records knows by it that the turn is complete

    def _bound_reached(self) -> StopReason | None:
        return self._run.config.spent(self._run.state.window_id + 1, self._run.state.env_steps)

    def resume(self, point: ResumePoint) -> None:
        """Go on from a saved state instead of from the beginning; to be called before `run`.

        Raises:
            CheckpointMismatchError: the objects are not what the run was begun with.
            CheckpointCorruptError: the state lacks something, or was saved by another version.
        """
        self._execution.go_on_from(self._keeping.restored(point))
        self._validation.spent = self._run.state.validation
        self._escaping.resize_windows()
        self._is_resumed = True

    def _close(self, failed: bool) -> None:
        progress = self._run.progress
        if failed:
            progress.reason = StopReason.ERROR
        self._championship.keep()
        try:
            take_steps(
                closing_steps(self._run, self._execution.snapshots, self._untrained, self._escaping, self._validation),
                progress,
                has_failed=failed,
            )
        finally:
            self._run.slot.install(self._run.slot.first)
            progress.halt()
            self._run.tell("end", reason=(progress.reason or StopReason.STOPPED).value)
            for successor in self._successors:
                self._conclude(successor)
            self._run.callbacks.call("on_loop_stop")
            if self._run.parts.records is not None:
                self._run.parts.records.conclude(self.report())
            self._run.parts.registry.close()
            progress.is_over = True

    def _conclude(self, successor: Successor) -> None:
        try:
            successor.conclude(self._run.progress.reason or StopReason.STOPPED)
        except Exception:  # the run is over and saved; its own error, if there was one, is not hidden
            logger.exception("%s.conclude failed.", type(successor).__name__)
