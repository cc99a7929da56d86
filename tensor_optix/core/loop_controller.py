"""The loop: collect, learn, score, judge, act on the verdict, tune.

In pseudo-code, with the eight hooks:

    # <on_loop_start>
    for window in pipeline.episodes():                      # the agent acts
        diagnostics = agent.learn(window)
        on watch: nothing is learned, and the window's score goes to the drift detector      (watch)
        if the window is due:
            metrics = evaluator.combine(score(window), score(validation))
            is_best = metrics beat the best, and again where both play the same fresh episodes      (scoring, selection)
            verdict = judge(metrics, best, recent metrics)
            state   = scheduler.transition(state, verdict)
            for effect in effects(old state, state, verdict, is_best):
                CHECKPOINT:  registry.commit(...)           # <on_improvement>
                DEGRADATION: restore the best, if asked     # <on_degradation>
                PLATEAU:                                    # <on_plateau>
                DORMANT:     a variant learns on, or watch, or end: converged       # <on_dormant>
            agent.set_hyperparams(optimizer.suggest(...))   # <on_hyperparam_update>
        # <on_episode_end>
    settle and restore the best policy                      (run_ending)
    # <on_loop_stop>
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent, HasLearner
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.loop.callbacks import CallbackList
from tensor_optix.core.loop.decider import Decisions
from tensor_optix.core.loop.learning import Learning, Lesson
from tensor_optix.core.loop.parts import LoopConfig, LoopParts, LoopStatus
from tensor_optix.core.loop.run_ending import end_run, settle
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import (
    FORMAT,
    KeepsRunState,
    parts_state,
    restore_parts,
    saved_fields,
    write_agent,
)
from tensor_optix.core.loop.scoring import Evaluation, Scorer, no_score
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.storage.resume_ring import ResumePoint
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, PolicySnapshot, jsonable
from tensor_optix.support.signals import stop_on_signals

logger = logging.getLogger(__name__)


class LoopController:
    """Runs the picture above. What to do is decided by `judge`, `transition` and `effects`; this does it.

    Args:
        parts: the objects to bring together.
        config: the knobs.
        callbacks: who observes, in the order of being told.
        clock: monotonic seconds; no decision depends on it.
    """

    def __init__(
        self,
        parts: LoopParts,
        config: LoopConfig,
        callbacks: Sequence[LoopCallback] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._parts = parts
        self._first_agent = parts.agent
        self._config = config
        self._progress = RunProgress(clock)
        self._callbacks = CallbackList(callbacks, clock, self._progress.health)
        self._keeping = [callback for callback in callbacks if isinstance(callback, KeepsRunState)]
        self._scorer = Scorer(parts.evaluator, parts.val_pipeline, config, self._progress)
        self._learning = Learning(self._progress.health)
        self._decisions = Decisions(parts, config, self._progress, self._callbacks, self._scorer)
        self._is_resumed = False
        self._collecting = 0.0
        """Seconds that collecting the window in hand took."""
        self._kept_best: PolicySnapshot | None = None
        """The best snapshot that the saved state knows."""
        self._failure: Exception | None = None
        """What a callback wants the run to end with."""
        self.ended_by: int | None = None
        """The signal that ended the run, if one did."""

    def stop(self, reason: StopReason = StopReason.STOPPED) -> None:
        """End the run after the window in progress, which a live pipeline leaves, with everything saved."""
        self._progress.stop(reason)
        self._parts.pipeline.interrupt()

    def fail(self, error: Exception) -> None:
        """End the run with an error after the window in progress, with everything saved."""
        self._failure = self._failure or error

    def run(self) -> TrainingReport:
        """Run until trained, stopped, interrupted or out of windows. A second call goes on where the first ended.

        Raises:
            Exception: whatever the agent, a pipeline, the evaluator or the optimizer raised, after everything is saved.
        """
        progress = self._progress
        is_resumed, ended = self._is_resumed, self._end_reached()
        self._decisions.start(self._parts, is_resumed=is_resumed, has_ended=ended is not None)
        progress.start()
        progress.reason = ended or progress.reason
        self._failure = None
        if self._parts.keeper is not None:
            self._parts.keeper.start()
        self._callbacks.call("on_loop_start")
        with stop_on_signals(self._interrupt):
            failed = True
            try:
                for data in () if progress.reason is not None else self._windows():
                    self._turn(data)
                    if self._failure is not None:
                        raise self._failure
                    self._keep_state()
                    if progress.reason is not None:
                        break
                else:  # a live pipeline that was told to stop waits for no further window
                    if progress.stop_asked and progress.window_id >= 0:
                        self._keep_state()
                progress.reason = progress.reason or StopReason.EXHAUSTED
                failed = False
            except KeyboardInterrupt:
                progress.reason, failed = StopReason.INTERRUPTED, False
            finally:
                self._close(failed)
        return self.report()

    def _interrupt(self, signal_number: int) -> None:
        self.ended_by = signal_number
        self.stop(StopReason.INTERRUPTED)

    @property
    def status(self) -> LoopStatus:
        """Where the run stands."""
        return self._progress.status(self._parts, self._config, self._decisions.position)

    @property
    def agent(self) -> BaseAgent:
        """Who acts and learns at present."""
        return self._parts.agent

    @property
    def watches(self) -> bool:
        """Whether it goes on watching when the policy is trained."""
        return self._config.watches(is_live=self._parts.pipeline.is_live)

    @property
    def recent(self) -> Sequence[EvalMetrics]:
        """The newest usable evaluations, in the order of time."""
        return tuple(self._progress.recent)

    def report(self) -> TrainingReport:
        """Return what the run came to so far."""
        return self._progress.report(self._parts)

    def resume(self, point: ResumePoint) -> None:
        """Go on from a saved state instead of from the beginning; to be called before `run`.

        Raises:
            CheckpointMismatchError: the objects are not what the run was begun with.
            CheckpointCorruptError: the state lacks something.
        """
        with saved_fields(point):
            state = point.state
            for callback, saved in zip(self._keeping, state["callbacks"], strict=True):
                learner = callback.restore_run(saved, point.folder)
                if learner is not None:
                    self._let_learn(learner)
            restore_parts(self._parts, state, point.folder)
            self._learning.load_state_dict(state["learning"])
            progress, registry = self._progress, self._parts.registry
            progress.load_state_dict(state["progress"], self._parts.history)
            if progress.best is not None and not registry.path_of(progress.best).exists():
                progress.best = registry.best
            registry.era = progress.best.era if progress.best else 0
            self._decisions.load_state_dict(state, self._parts)
            self._parts.drift_detector.load_state_dict(state["drift_detector"])
        self._is_resumed = True

    def _keep_state(self) -> None:
        """Save what a resumed run needs, if it is time; always where a snapshot was saved, so that the two agree."""
        keeper, progress = self._parts.keeper, self._progress
        if keeper is None:
            return
        if keeper.is_due or progress.reason is not None or progress.best is not self._kept_best:
            with progress.health.surviving_storage("save the run's state", "state"):
                keeper.save(self._write_agents, self._state)
                self._kept_best = progress.best

    def _write_agents(self, folder: Path) -> None:
        write_agent(self._parts, folder)
        for callback in self._keeping:
            callback.write_agents(folder)

    def _state(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "progress": self._progress.state_dict(),
            **self._decisions.state_dict(),
            "learning": self._learning.state_dict(),
            "drift_detector": jsonable(self._parts.drift_detector.state_dict()),
            "callbacks": [callback.run_state() for callback in self._keeping],
            **parts_state(self._parts),
        }

    def _end_reached(self) -> StopReason | None:
        """Return why nothing is left to do (the windows are spent, a resumed run had ended); None where there is."""
        ended, most = self._progress.ended if self._is_resumed else None, self._config.max_episodes
        self._is_resumed = False
        if ended is not None and ended is not StopReason.MAX_EPISODES:
            return ended
        return StopReason.MAX_EPISODES if most is not None and self._progress.window_id + 1 >= most else None

    def switch_learner(self, agent: BaseAgent) -> None:
        """Let another agent act and learn from the next window on, with a patience of its own.

        Where the acting agent is one that combines others (`HasLearner`), the new one becomes its learner.
        """
        self._let_learn(agent)
        self._decisions.on_new_learner(self._parts)

    def scores_alone(self, agents: Sequence[BaseAgent]) -> list[EvalMetrics]:
        """Score agents, each by itself, on the same held-out episodes; see `Validation.scores_alone`."""
        with self._progress.timed("validate"):
            return self._scorer.validation.scores_alone(agents)

    def settle(self) -> None:
        """Settle by long tests which policy is best, the learner's own included, which it keeps; see `settle`."""
        settle(self._parts, self._progress, self._scorer.validation, keeps_own=True)

    def _let_learn(self, agent: BaseAgent) -> None:
        if isinstance(self._parts.agent, HasLearner):
            self._parts.agent.set_learner(agent)
        elif agent is not self._parts.agent:
            self._hand_over(agent)

    def _hand_over(self, agent: BaseAgent) -> None:
        for pipeline in (self._parts.pipeline, self._parts.val_pipeline):
            if pipeline is not None:
                pipeline.agent = GreedyAgent(agent) if isinstance(pipeline.agent, GreedyAgent) else agent
        self._parts = replace(self._parts, agent=agent)
        self._scorer.validation.restart()

    # --- one window ---

    def _windows(self) -> Iterator[EpisodeData]:
        windows = iter(self._parts.pipeline.episodes())
        pipeline_agent = self._parts.pipeline.agent
        while True:
            if self._parts.pipeline.agent is not pipeline_agent:  # a new learner: an iterator may hold the old one
                windows, pipeline_agent = iter(self._parts.pipeline.episodes()), self._parts.pipeline.agent
            collected = self._progress.seconds["collect"]
            with self._progress.timed("collect"):
                data = self._learning.collected(windows)
            self._collecting = self._progress.seconds["collect"] - collected
            if data is None:
                return
            yield data

    def _turn(self, data: EpisodeData) -> None:
        parts, progress = self._parts, self._progress
        progress.window_id += 1
        progress.env_steps += data.length
        due = progress.window_id >= progress.next_evaluation
        lived_with = parts.agent.get_hyperparams().copy()
        begun, was_probing = progress.total_seconds() - self._collecting, parts.optimizer.is_probing
        # Without validation the score belongs to the policy that lived the window, and learning is about to change it.
        is_on_watch = self._decisions.is_on_watch
        staged = self._stage() if due and not is_on_watch and not self._scorer.validation.is_there else None
        metrics = None
        try:
            if is_on_watch:
                metrics = self._look(data, lived_with, due=due)
            else:
                with progress.timed("learn"):
                    diagnostics = self._learn(data, lived_with)
                if due and diagnostics is not None:
                    evaluation = self._scorer.evaluate(parts, data, diagnostics, lived_with, staged)
                    metrics = evaluation.metrics
                    self._decisions.decide(parts, evaluation)
        finally:
            if staged is not None:
                parts.registry.discard(staged)
        if was_probing:
            progress.count_tuning("probing_windows")
            progress.count_tuning("probing_steps", data.length)
            progress.count_tuning("probing_seconds", progress.total_seconds() - begun)
        self._callbacks.call("on_episode_end", progress.window_id, metrics)
        if self._config.max_episodes is not None and progress.window_id + 1 >= self._config.max_episodes:
            self.stop(StopReason.MAX_EPISODES)

    def _look(self, data: EpisodeData, lived_with: HyperparamSet, *, due: bool) -> EvalMetrics | None:
        """Watch over a window: nothing is learned from it, and decided only where there is something to decide."""
        if self._heed(self._learning.check(data, self._progress.window_id), lived_with, None) is None:
            return None
        sighting = self._decisions.watch.look(self._parts, data, due=due)
        if sighting is None:
            return None
        self._decisions.decide(self._parts, Evaluation(sighting.metrics, False, (), lived_with, None), sighting)
        return sighting.metrics

    def _learn(self, data: EpisodeData, lived_with: HyperparamSet) -> dict[str, Any] | None:
        """Let the agent learn from a window, and return its diagnostics; None where that was of no use, see `guard`."""
        window_id, probed = self._progress.window_id, self._parts.optimizer.probed_param
        return self._heed(
            self._learning.learn(self._parts, self._decisions.tuner, data, window_id, lived_with), lived_with, probed
        )

    def _heed(self, lesson: Lesson, lived_with: HyperparamSet, probed: str | None) -> dict[str, Any] | None:
        """Return the diagnostics of a lesson; None where it has a fault, which is recorded, or ends the run."""
        if lesson.fault is not None:
            metrics = no_score(self._progress.window_id)
            self._decisions.record(lived_with, metrics, Verdict.NO_EVIDENCE, probed_param=probed, fault=lesson.fault)
        if lesson.error is not None:
            raise lesson.error
        return lesson.diagnostics

    def _stage(self) -> Path | None:
        with self._progress.health.surviving_storage("write the policy"):
            return self._parts.registry.stage(self._parts.agent)
        return None

    def _close(self, failed: bool) -> None:
        if failed:
            self._progress.reason = StopReason.ERROR
        self._decisions.watch.stand_by()
        try:
            end_run(
                self._parts,
                self._config,
                self._progress,
                self._scorer.validation,
                first_agent=self._first_agent,
                has_failed=failed,
            )
        finally:
            if self._parts.agent is not self._first_agent:
                self._hand_over(self._first_agent)
            self._progress.halt()
            self._callbacks.call("on_loop_stop")
            self._parts.registry.close()
            self._progress.is_over = True
