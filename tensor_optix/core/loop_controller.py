"""The loop: collect, learn, score, judge, act on the verdict, tune.

In pseudo-code, with the eight hooks:

    # <on_loop_start>
    for window in pipeline.episodes():                      # the agent acts
        diagnostics = agent.learn(window)
        if the window is due:
            metrics = evaluator.combine(score(window), score(validation))
            verdict = judge(metrics, best)
            state   = scheduler.transition(state, verdict)
            for effect in effects(old state, state, verdict):
                CHECKPOINT:  registry.commit(...)           # <on_improvement>
                DEGRADATION: restore the best, if asked     # <on_degradation>
                PLATEAU:                                    # <on_plateau>
                DORMANT:     watch, or end: converged       # <on_dormant>
            agent.set_hyperparams(optimizer.suggest(...))   # <on_hyperparam_update>
        # <on_episode_end>
    restore the best policy
    # <on_loop_stop>
"""

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensor_optix.core._signals import stop_on_signals
from tensor_optix.core.backoff_scheduler import Effect, Event, SchedulerState, effects
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.final_evaluation import evaluate_leaders
from tensor_optix.core.loop_callback import CallbackList, LoopCallback
from tensor_optix.core.loop_config import LoopConfig, LoopParts, LoopStatus
from tensor_optix.core.run_state import HistoryRecord
from tensor_optix.core.search_space import is_real
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.trend import Verdict, judge
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, LoopState, PolicySnapshot
from tensor_optix.errors import HyperparamError, NonFiniteError, TensorOptixError, did_you_mean

logger = logging.getLogger(__name__)

WINDOWS_WITHOUT_EVIDENCE = 20
_ENDS_BY_ITSELF = (StopReason.CONVERGED, StopReason.MAX_EPISODES, StopReason.EXHAUSTED)


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
        self._config = config
        self._callbacks = CallbackList(callbacks)
        self._clock = clock
        self._position: SchedulerState = config.scheduler.initial()
        self._reason: StopReason | None = None
        self._stop_asked = False
        self._validation: Iterator[EpisodeData] | None = None
        self._best: PolicySnapshot | None = None
        self._metrics: EvalMetrics | None = None
        self._window_id = -1
        self._next_evaluation = 0
        self._env_steps = 0
        self._evaluations = 0
        self._without_evidence = 0
        self._warned_of: set[str] = set()
        self._seconds: dict[str, float] = {"collect": 0.0, "learn": 0.0, "validate": 0.0}
        self._lived_seconds = 0.0
        self._started: float | None = None

    def stop(self, reason: StopReason = StopReason.STOPPED) -> None:
        """End the run after the window in progress, with everything saved."""
        self._reason = self._reason or reason
        self._stop_asked = True

    def run(self) -> TrainingReport:
        """Run until trained, stopped, interrupted or out of windows. A second call goes on where the first ended.

        Raises:
            Exception: whatever the agent, a pipeline, the evaluator or the optimizer raised, after everything is saved.
        """
        self._reason = None
        if self._position.state is LoopState.DORMANT:  # an earlier call ended as trained: this one has its own patience
            self._position = self._config.scheduler.initial()
        self._started = self._clock()
        self._callbacks.call("on_loop_start")
        with stop_on_signals(lambda: self.stop(StopReason.INTERRUPTED)):
            failed = True
            try:
                for data in self._windows():
                    self._turn(data)
                    if self._reason is not None:
                        break
                self._reason = self._reason or StopReason.EXHAUSTED
                failed = False
            except KeyboardInterrupt:
                self._reason, failed = StopReason.INTERRUPTED, False
            finally:
                self._close(failed)
        return self.report()

    @property
    def status(self) -> LoopStatus:
        """Where the run stands."""
        name = self._parts.optimizer.probed_param
        return LoopStatus(
            state=self._position.state,
            window_id=self._window_id,
            env_steps=self._env_steps,
            seconds=self._total_seconds(),
            metrics=self._metrics,
            best=self._best,
            probed_param=name,
            probed_value=self._parts.agent.get_hyperparams().params.get(name) if name else None,
            windows_to_evaluation=max(self._next_evaluation - self._window_id, 0),
            no_improvement=self._position.no_improvement,
            dormant_threshold=self._config.scheduler.dormant_threshold,
        )

    def report(self) -> TrainingReport:
        """Return what the run came to so far."""
        best, last = self._best, self._metrics
        total = self._total_seconds()
        return TrainingReport(
            reason=(self._reason or StopReason.STOPPED).value,
            best_score=best.eval_metrics.primary_score if best else math.nan,
            best_std_err=best.eval_metrics.std_err if best else math.nan,
            best_window=best.window_id if best else None,
            best_snapshot=str(self._parts.registry.path_of(best)) if best else None,
            train_score=last.metrics.get("train_score", last.primary_score) if last else math.nan,
            val_score=last.metrics.get("val_score", math.nan) if last else math.nan,
            generalization_gap=best.eval_metrics.generalization_gap if best else math.nan,
            windows=self._window_id + 1,
            evaluations=self._evaluations,
            env_steps=self._env_steps,
            seconds={"total": total, **self._seconds, "loop": total - sum(self._seconds.values())},
            hyperparams=dict(best.hyperparams.params) if best else {},
            checkpoint_dir=str(self._parts.registry.directory),
        )

    # --- one window ---

    def _windows(self) -> Iterator[EpisodeData]:
        windows = iter(self._parts.pipeline.episodes())
        while True:
            with self._timed("collect"):
                data = next(windows, None)
            if data is None:
                return
            yield data

    def _turn(self, data: EpisodeData) -> None:
        parts = self._parts
        self._window_id += 1
        self._env_steps += data.length
        due = self._window_id >= self._next_evaluation
        lived_with = parts.agent.get_hyperparams().copy()
        # Without validation the score belongs to the policy that lived the window, and learning is about to change it.
        staged = parts.registry.stage(parts.agent) if due and parts.val_pipeline is None else None
        try:
            with self._timed("learn"):
                diagnostics = parts.agent.learn(data)
            _refuse_non_finite_loss(diagnostics, self._window_id)
            metrics = self._evaluate(data, diagnostics) if due else None
            if metrics is not None:
                self._decide(metrics, lived_with, staged)
        finally:
            if staged is not None:
                parts.registry.discard(staged)
        self._callbacks.call("on_episode_end", self._window_id, metrics)
        if self._config.max_episodes is not None and self._window_id + 1 >= self._config.max_episodes:
            self.stop(StopReason.MAX_EPISODES)

    def _evaluate(self, data: EpisodeData, diagnostics: dict[str, Any]) -> EvalMetrics:
        parts = self._parts
        train_metrics = parts.evaluator.score(data, diagnostics)
        if parts.val_pipeline is None:
            return train_metrics
        metrics = parts.evaluator.combine(train_metrics, self._validate(1))
        if self._config.confirm_windows and self._judge(metrics) is Verdict.IMPROVED:
            # The highest of many noisy scores is too high; the score on fresh episodes is not.
            metrics = parts.evaluator.combine(train_metrics, self._validate(self._config.confirm_windows))
        return metrics

    def _validate(self, n_windows: int) -> EvalMetrics:
        assert self._parts.val_pipeline is not None  # noqa: S101 - for the type checker; the caller has looked
        with self._timed("validate"):
            if self._validation is None:
                self._validation = iter(self._parts.val_pipeline.episodes())
            windows = list(itertools.islice(self._validation, n_windows))
            if not windows:
                self._validation = iter(self._parts.val_pipeline.episodes())
                windows = list(itertools.islice(self._validation, n_windows))
        if not windows:
            raise TensorOptixError(
                f"{type(self._parts.val_pipeline).__name__}.episodes() yields nothing; validation needs at least one "
                f"window. Give it data, or pass val_pipeline=None."
            )
        data = windows[0] if len(windows) == 1 else EpisodeData.concatenate(windows)
        return self._parts.evaluator.score(data, {})

    def _judge(self, metrics: EvalMetrics) -> Verdict:
        return judge(
            metrics,
            self._best.eval_metrics.primary_score if self._best else None,
            improvement_margin=self._config.improvement_margin,
            degradation_threshold=self._config.degradation_threshold,
            min_degradation_drop=self._config.min_degradation_drop,
            is_probing=self._parts.optimizer.is_probing,
        )

    def _decide(self, metrics: EvalMetrics, lived_with: HyperparamSet, staged: Path | None) -> None:
        verdict, probed = self._judge(metrics), self._parts.optimizer.probed_param
        old = self._position
        self._position = self._config.scheduler.transition(old, Event(verdict.value))
        self._evaluations += 1
        if verdict is Verdict.NO_EVIDENCE:
            self._note_no_evidence(metrics)
            self._next_evaluation = self._window_id + 1
        else:
            self._metrics, self._without_evidence = metrics, 0
            for effect in effects(old, self._position, verdict):
                self._execute(effect, metrics, lived_with, staged)
            self._tune(metrics, verdict)
            self._next_evaluation = self._window_id + self._position.interval
        self._parts.history.append(
            HistoryRecord(
                window_id=self._window_id,
                env_steps=self._env_steps,
                verdict=verdict.value,
                state=self._position.state.value,
                interval=self._position.interval,
                best_score=self._best.eval_metrics.primary_score if self._best else None,
                probed_param=probed,
                hyperparams=lived_with,
                eval_metrics=metrics,
            )
        )

    def _execute(self, effect: Effect, metrics: EvalMetrics, lived_with: HyperparamSet, staged: Path | None) -> None:
        parts = self._parts
        match effect:
            case Effect.CHECKPOINT:
                staged = staged or parts.registry.stage(parts.agent)
                self._best = parts.registry.commit(staged, metrics, self._window_id, lived_with)
                self._callbacks.call("on_improvement", self._best)
            case Effect.DEGRADATION:
                if self._config.rollback_on_degradation:
                    parts.registry.load_best(parts.agent)
                self._callbacks.call("on_degradation", self._window_id, metrics)
            case Effect.PLATEAU:
                self._callbacks.call("on_plateau", self._window_id, self._position.state)
            case Effect.DORMANT:
                self._callbacks.call("on_dormant", self._window_id)
                if self._watches:
                    self._position = self._config.scheduler.transition(self._position, Event.WATCH)
                else:
                    self.stop(StopReason.CONVERGED)

    @property
    def _watches(self) -> bool:
        if self._config.on_converged == "auto":
            return self._parts.pipeline.is_live
        return self._config.on_converged == "watch"

    def _tune(self, metrics: EvalMetrics, verdict: Verdict) -> None:
        optimizer, agent = self._parts.optimizer, self._parts.agent
        if self._position.state not in (LoopState.ACTIVE, LoopState.COOLING) and not optimizer.is_probing:
            return  # a value on trial is still settled: else every later dip would be taken for the probe's
        if verdict is Verdict.IMPROVED:
            optimizer.on_improvement(metrics)
        elif self._position.state is LoopState.COOLING:
            optimizer.on_plateau(metrics)
        old = agent.get_hyperparams().copy()
        new = optimizer.suggest(old.copy(), metrics)
        if new.params == old.params:
            return
        _check_suggestion(new.params, old.params)
        new = HyperparamSet({**old.params, **new.params}, self._window_id + 1)
        agent.set_hyperparams(new.copy())
        self._callbacks.call("on_hyperparam_update", old, new)

    def _note_no_evidence(self, metrics: EvalMetrics) -> None:
        self._without_evidence += 1
        if metrics.has_evidence:
            self._warn_once(
                "score",
                "%s gave the score %r in window %d: it decides nothing and never becomes the best. "
                "Return a finite number, or EvalMetrics(..., has_evidence=False) where there is nothing to judge by.",
                type(self._parts.evaluator).__name__,
                metrics.primary_score,
                self._window_id,
            )
        elif self._without_evidence == WINDOWS_WITHOUT_EVIDENCE:
            self._warn_once(
                "evidence",
                "No episode was completed in %d windows in a row, so nothing can be judged. Use a larger window_size, "
                "give the environment a time limit, pass a val_pipeline that plays whole episodes, or an evaluator "
                "that scores steps (EpisodeReturnEvaluator(reward_weight=1.0)).",
                WINDOWS_WITHOUT_EVIDENCE,
            )

    # --- the end ---

    def _close(self, failed: bool) -> None:
        """Save what is not saved, restore the best, close everything; never hide the error that ended the run."""
        parts = self._parts
        if failed:
            self._reason = StopReason.ERROR
        steps: list[tuple[str, Callable[[], Any]]] = []
        if self._best is None and self._window_id >= 0:
            steps.append(("save the policy", self._save_unscored))
        elif self._best is not None:
            if self._config.final_evaluation and self._reason in _ENDS_BY_ITSELF:
                steps.append(("evaluate the best policies", self._evaluate_leaders))
            if self._config.restore_best:
                steps.append(("restore the best policy", lambda: parts.registry.load_best(parts.agent)))
        steps.append(("close the history", parts.history.close))
        steps.append(("close the pipeline", parts.pipeline.teardown))
        if parts.val_pipeline is not None:
            steps.append(("close the validation pipeline", parts.val_pipeline.teardown))
        first_error: BaseException | None = None
        for what, step in steps:
            try:
                step()
            except KeyboardInterrupt:
                logger.warning("Interrupted: did not %s.", what)
            except Exception as error:
                logger.exception("Could not %s.", what)
                first_error = first_error or error
        self._validation = None
        self._lived_seconds = self._total_seconds()
        self._started = None
        self._callbacks.call("on_loop_stop")
        parts.registry.close()
        if first_error is not None and not failed:
            raise first_error

    def _evaluate_leaders(self) -> None:
        parts = self._parts
        if not isinstance(parts.val_pipeline, PlaysSeeds) or self._metrics is None:
            return
        # The last policy takes part: at an environment's ceiling it ties with the best and is often the steadier one.
        last = parts.registry.save(parts.agent, self._validated(self._metrics), self._window_id)
        self._stop_asked = False
        try:
            with self._timed("validate"):
                self._best = evaluate_leaders(
                    parts.agent, parts.registry, parts.val_pipeline, parts.evaluator, lambda: self._stop_asked
                )
        finally:
            parts.registry.prune()
            if not self._config.restore_best:
                parts.registry.load(last, parts.agent)

    def _validated(self, metrics: EvalMetrics) -> EvalMetrics:
        """Return the score of the policy as it is now, given the last evaluation."""
        if metrics.episode_id == self._window_id:
            return metrics
        train_score = metrics.metrics.get("train_score", math.nan)
        train_metrics = dataclasses.replace(metrics, primary_score=train_score, episode_id=self._window_id)
        return self._parts.evaluator.combine(train_metrics, self._validate(1))

    def _save_unscored(self) -> None:
        metrics = self._metrics or EvalMetrics(math.nan, {}, max(self._window_id, 0), has_evidence=False)
        self._parts.registry.save(self._parts.agent, metrics, self._window_id)

    # --- helpers ---

    def _total_seconds(self) -> float:
        return self._lived_seconds + (self._clock() - self._started if self._started is not None else 0.0)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = self._clock()
        try:
            yield
        finally:
            self._seconds[what] += self._clock() - start

    def _warn_once(self, topic: str, message: str, *args: Any) -> None:
        if topic not in self._warned_of:
            self._warned_of.add(topic)
            logger.warning(message, *args)


def _refuse_non_finite_loss(diagnostics: Mapping[str, Any], window_id: int) -> None:
    for name, value in diagnostics.items():
        if "loss" not in name or isinstance(value, str):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if not math.isfinite(number):
            raise NonFiniteError(
                f"learn() reported {name}={number!r} in window {window_id}: the weights are lost. The best "
                f"snapshot is kept. Lower the learning rate, or look for observations or rewards that are not finite."
            )


def _check_suggestion(new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    for name, value in new.items():
        if name not in old:
            raise HyperparamError(
                f"The optimizer suggested {name!r}={value!r}, which the agent does not have.{did_you_mean(name, old)}"
            )
        if value != old[name] and is_real(old[name]) and not is_real(value):
            raise HyperparamError(f"The optimizer suggested {name!r}={value!r}, which is not a finite number.")
