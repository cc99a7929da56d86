"""Acting on an evaluation: judge it, move the state on, do what follows from that, tune, and write it down.

What a score means, which state follows, and what is to be done are pure functions (`judge`, `transition`, `effects`);
here is what lies between two of them, and whatever has to be remembered for the next evaluation.
"""

import logging
from collections.abc import Mapping
from typing import Any

from tensor_optix.core.backoff_scheduler import Effect, Event, SchedulerState, effects
from tensor_optix.core.decisions.trend import Verdict, is_flat_start, judge
from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.loop.callbacks import CallbackList
from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.scoring import Evaluation, Scorer
from tensor_optix.core.loop.tuning import SuggestionError, Tuner, TuningRecord
from tensor_optix.core.loop.watch import Sighting, Watch
from tensor_optix.core.training_report import StopReason
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState

logger = logging.getLogger(__name__)

WINDOWS_WITHOUT_EVIDENCE = 20


class Decisions:
    """Decides what becomes of a run after each evaluation, and does it.

    Args:
        parts: what the loop is made of.
        config: the knobs.
        progress: what the run has come to; its best, counts and next evaluation are kept up to date.
        callbacks: who is told.
        scorer: what scores the windows.
    """

    def __init__(
        self, parts: LoopParts, config: LoopConfig, progress: RunProgress, callbacks: CallbackList, scorer: Scorer
    ) -> None:
        self._config = config
        self._progress = progress
        self._callbacks = callbacks
        self._optimizer = parts.optimizer
        self._history = parts.history
        self._evaluator_name = type(parts.evaluator).__name__
        self.position: SchedulerState = config.scheduler.initial()
        self.tuner = Tuner(parts.agent, parts.optimizer)
        self.watch = Watch(scorer, progress, self._judge, config.improvement_margin)
        self._learner_since = 0
        """First window of the present learner."""
        self._without_evidence = 0
        self._warned_of: set[str] = set()

    # --- who learns, and whether anybody does ---

    @property
    def is_on_watch(self) -> bool:
        """Whether the policy is trained and watched over, and nothing is learned."""
        return self.position.state is LoopState.WATCHDOG

    def start(self, parts: LoopParts, *, is_resumed: bool, has_ended: bool) -> None:
        """Begin, or go on where an earlier call ended.

        Args:
            parts: what the loop is made of at present.
            is_resumed: True if that was in another process.
            has_ended: True if there is nothing left to do.
        """
        if self.is_on_watch and not is_resumed:
            self.watch.take_place(parts)
        if self.position.state is LoopState.DORMANT and not has_ended:
            self.position = self._config.scheduler.initial()

    def on_new_learner(self, parts: LoopParts) -> None:
        """Give who learns from the next window on a patience and trials of its own."""
        parts.optimizer.on_new_learner()
        self.tuner = Tuner(parts.agent, parts.optimizer)
        self.position = self._config.scheduler.transition(self.position, Event.SPAWNED)
        self._learner_since = self._progress.next_evaluation = self._progress.window_id + 1

    def state_dict(self) -> dict[str, Any]:
        """Return what the next decision depends on as plain JSON values."""
        return {
            "position": [self.position.state.value, self.position.interval, self.position.no_improvement],
            "without_evidence": self._without_evidence,
            "learner_since": self._learner_since,
            "tuner": self.tuner.state_dict(),
            "watch": self.watch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], parts: LoopParts) -> None:
        """Go on from `state_dict`, with what the loop is made of by now."""
        loop_state, interval, no_improvement = state["position"]
        self.position = SchedulerState(LoopState(loop_state), interval, no_improvement)
        self._without_evidence = int(state["without_evidence"])
        self._learner_since = int(state["learner_since"])
        self.tuner = Tuner(parts.agent, parts.optimizer)
        self.tuner.load_state_dict(state["tuner"])
        self.watch.load_state_dict(state["watch"], parts)

    # --- one evaluation ---

    def decide(self, parts: LoopParts, evaluation: Evaluation, sighting: Sighting | None = None) -> None:
        """Do what an evaluation asks for.

        Args:
            parts: what the loop is made of at present.
            evaluation: what the window came to.
            sighting: what the watch made of it, where it was lived on watch.
        """
        progress, metrics = self._progress, evaluation.metrics
        verdict = sighting.verdict if sighting is not None else self._judge(metrics)
        probed = self._optimizer.probed_param
        old, event = self.position, Event(verdict.value)
        is_plain = is_flat_start([*progress.recent, metrics], self._config.scheduler.dormant_threshold)
        if verdict is Verdict.FLAT and is_plain:
            event = Event.NO_EVIDENCE  # the patience runs from where there is something to learn
        self.position = self._config.scheduler.transition(old, event)
        progress.evaluations += 1
        tuning: tuple[TuningRecord, ...] = ()
        if verdict is Verdict.NO_EVIDENCE:
            self._note_no_evidence(metrics)
            progress.next_evaluation = progress.window_id + 1
        else:
            progress.metrics, self._without_evidence = metrics, 0
            progress.recent.append(metrics)
            progress.next_evaluation = progress.window_id + self.position.interval
            for effect in effects(old, self.position, verdict, is_best=evaluation.is_best):
                self._execute(parts, effect, evaluation)
            # Where every episode comes to the same, no value can be told from another; and the score has to be that of
            # who learns now.
            if not is_plain and self._learner_since <= progress.window_id:
                tuning = self._tune(metrics, verdict)
        self.record(
            evaluation.lived_with,
            metrics,
            verdict,
            probed_param=probed,
            is_best=evaluation.is_best,
            tuning=tuning,
            event=sighting.event if sighting is not None else None,
        )

    def _judge(self, metrics: EvalMetrics) -> Verdict:
        best, config = self._progress.best, self._config
        return judge(
            metrics,
            self._progress.best_score,
            tuple(self._progress.recent),
            best_std_err=best.eval_metrics.std_err if best else 0.0,
            patience=config.scheduler.dormant_threshold,
            improvement_margin=config.improvement_margin,
            degradation_threshold=config.degradation_threshold,
            min_degradation_drop=config.min_degradation_drop,
            is_probing=self._optimizer.is_probing,
        )

    def _execute(self, parts: LoopParts, effect: Effect, evaluation: Evaluation) -> None:
        progress = self._progress
        match effect:
            case Effect.CHECKPOINT:
                with progress.health.surviving_storage("save the best policy"):
                    staged = evaluation.staged or parts.registry.stage(parts.agent)
                    progress.best = parts.registry.commit(
                        staged, evaluation.metrics, progress.window_id, evaluation.lived_with, evaluation.evidence
                    )
                    self._callbacks.call("on_improvement", progress.best)
            case Effect.DEGRADATION:
                if self._config.rollback_on_degradation:
                    parts.registry.load_best(parts.agent)
                self._callbacks.call("on_degradation", progress.window_id, evaluation.metrics)
            case Effect.PLATEAU:
                self._callbacks.call("on_plateau", progress.window_id, self.position.state)
            case Effect.DORMANT:
                self._fall_asleep(parts)

    def _fall_asleep(self, parts: LoopParts) -> None:
        self._callbacks.call("on_dormant", self._progress.window_id)
        if self.position.state is not LoopState.DORMANT:
            return  # a variant has become the learner
        if self._config.watches(is_live=parts.pipeline.is_live):
            self.position = self._config.scheduler.transition(self.position, Event.WATCH)
            self._progress.next_evaluation = self._progress.window_id + self.position.interval
            self.watch.begin(parts)
        else:
            self._progress.stop(StopReason.CONVERGED)

    def _tune(self, metrics: EvalMetrics, verdict: Verdict) -> tuple[TuningRecord, ...]:
        optimizer, progress = self._optimizer, self._progress
        if self.position.state not in (LoopState.ACTIVE, LoopState.COOLING) and not optimizer.is_probing:
            return ()  # a value on trial is still settled: else every later dip would be taken for the probe's
        if verdict is Verdict.IMPROVED:
            optimizer.on_improvement(metrics)
        elif verdict is Verdict.DEGRADED and progress.best is not None:
            if progress.best.window_id >= self._learner_since:  # a variant does not go back to its parent's values
                optimizer.on_degradation(metrics, progress.best.hyperparams.copy())
        elif self.position.state is LoopState.COOLING:
            optimizer.on_plateau(metrics)
        try:
            step = self.tuner.step(metrics, progress.window_id + 1)
        except SuggestionError as error:
            if progress.health.met("suggestion") >= MOST_IN_A_ROW:
                raise
            logger.warning("Nothing is tuned in window %d: %s", progress.window_id, error)
            return ()
        progress.health.passed("suggestion")
        if step is None:
            return ()
        for record in step.records:
            progress.count_tuning(f"{record.kind}s")
            if record.decision:
                progress.count_tuning(record.decision)
        if step.new.params != step.old.params:
            self._callbacks.call("on_hyperparam_update", step.old, step.new)
        return step.records

    def _note_no_evidence(self, metrics: EvalMetrics) -> None:
        self._without_evidence += 1
        if metrics.has_evidence:
            self._warn_once(
                "score",
                "%s gave the score %r in window %d: it decides nothing and never becomes the best. "
                "Return a finite number, or EvalMetrics(..., has_evidence=False) where there is nothing to judge by.",
                self._evaluator_name,
                metrics.primary_score,
                self._progress.window_id,
            )
        elif self._without_evidence == WINDOWS_WITHOUT_EVIDENCE:
            self._warn_once(
                "evidence",
                "No episode was completed in %d windows in a row, so nothing can be judged. Use a larger window_size, "
                "give the environment a time limit, pass a val_pipeline that plays whole episodes, or an evaluator "
                "that scores steps (EpisodeReturnEvaluator(reward_weight=1.0)).",
                WINDOWS_WITHOUT_EVIDENCE,
            )

    def _warn_once(self, topic: str, message: str, *args: Any) -> None:
        if topic not in self._warned_of:
            self._warned_of.add(topic)
            logger.warning(message, *args)

    # --- what stays of it ---

    def record(
        self,
        lived_with: HyperparamSet,
        metrics: EvalMetrics,
        verdict: Verdict,
        *,
        probed_param: str | None,
        **more: Any,
    ) -> None:
        """Add a line to the history: what was measured, what came of it, and `more` fields of `HistoryRecord`."""
        progress, position = self._progress, self.position
        record = HistoryRecord(
            window_id=progress.window_id,
            env_steps=progress.env_steps,
            verdict=verdict.value,
            state=position.state.value,
            interval=position.interval,
            best_score=progress.best_score,
            probed_param=probed_param,
            hyperparams=lived_with,
            eval_metrics=metrics,
            **more,
        )
        with progress.health.surviving_storage("write the history"):
            self._history.append(record)
