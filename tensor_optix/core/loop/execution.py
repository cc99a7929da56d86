"""The hands of the controller: what `decide` asks for is executed here.

It alone writes the best, the learner and the disk, with its parts `snapshots` and, for the watch and for escapes,
`championship` and `escaping`. It is also the referee of evolution.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tensor_optix.core.backoff_scheduler import Effect, Event
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.loop.championship import Championship
from tensor_optix.core.loop.decider import Act, scheduler_of, spent
from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.loop.learning import DIVERGENCE, LEARN, Fault, Learning
from tensor_optix.core.loop.ordered_evaluator import who_scored
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.outlook import outlook
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.run_snapshots import RunSnapshots
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scoring import no_score
from tensor_optix.core.loop.tuning import SuggestionError, Tuner, TuningRecord
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EvalMetrics, LoopState
from tensor_optix.errors import NonFiniteError

logger = logging.getLogger(__name__)

WINDOWS_WITHOUT_EVIDENCE = 20


class Execution:
    """Executes effects.

    Args:
        run: what the hands share.
        learning: what recovers from a fault.
        championship: what is written on watch.
        validation: where the best policies are tested.
    """

    def __init__(self, run: Run, learning: Learning, championship: Championship, validation: Validation) -> None:
        self._run = run
        self._learning = learning
        self.championship = championship
        self._validation = validation
        self.snapshots = RunSnapshots(run, validation)
        self._tuner = Tuner(run.slot, run.parts.optimizer)
        self._tuned: tuple[TuningRecord, ...] = ()
        """What tuning did in this turn."""
        self._warned_of: set[str] = set()

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return self._run.state

    def execute(self, effect: Effect | Act, outcome: Outcome, on_dormant: Callable[..., None]) -> None:
        """Do what a decision asks for.

        Args:
            effect: what is to be done.
            outcome: what the window came to.
            on_dormant: asks what follows when the learner has ended.
        """
        state, parts, call = self._run.state, self._run.parts, self._run.callbacks.call
        metrics = outcome.metrics if outcome.metrics is not None else no_score(state.window_id)
        match effect:
            case Act.FAULT:
                self._recover(outcome, on_dormant)
            case Act.MISSING:
                self._tell_missing(metrics)
            case Act.BEGIN_ERA | Act.RESCORE | Act.RESERVE | Effect.CHECKPOINT:
                self.snapshots.write(effect, outcome, metrics)
            case Act.WAKE:
                self.championship.wake(outcome, metrics)
            case Act.SETTLE:
                self.championship.settle_trial(outcome)
            case Effect.DEGRADATION:
                if self._run.config.rollback_on_degradation and not self._run.slot.is_other:
                    best = parts.registry.load_best(self._run.slot.agent)
                    self._run.tell("rollback", score=metrics.primary_score, to=best.snapshot_id)
                call("on_degradation", state.window_id, metrics)
            case Effect.PLATEAU:
                if "end" not in self._warned_of:  # to look ahead takes as long as some hundred decisions
                    self._warn_once("end", "%s", outlook(state, self._run.config))
                call("on_plateau", state.window_id, state.position.state)
            case Effect.DORMANT:
                call("on_dormant", state.window_id)
                on_dormant(is_dormant=True)
            case Act.TUNE:
                self._tuned = self._tune(metrics)

    def go_on_from(self, state: RunState) -> None:
        """Take the state of a saved run, as far as its snapshots are still there."""
        registry = self._run.parts.registry
        if state.best is not None and not registry.path_of(state.best).exists():
            state = replace(state, best=registry.best)
        registry.era = state.best.era if state.best else 0
        # Those that are there and that the state has left out: the run was cut off before they were dropped.
        left = {one.snapshot_id for one in registry.snapshots() if one.in_reserve and one.window_id <= state.window_id}
        registry.reserve = left | {one.snapshot_id for one in state.reserve}
        self._run.state = state
        self.championship.pin_champion()

    # --- the referee of evolution ---

    def settle(self, *, asks_further: bool = False, part: float = 1.0) -> None:
        """Test the leading policies, the learner's own included, until one holds; the learner keeps its weights.

        Args:
            asks_further: True to ask a pipeline whose episodes are not fixed by seeds for further ones.
            part: of the budget of validation that may be spent then.
        """
        self.snapshots.settle(keeps_own=True, asks_further=asks_further, part=part)

    def roll_back(self, metrics: EvalMetrics) -> bool:
        """Load the best policy into the acting agent if that is better than an evaluation; True if it was."""
        registry = self._run.parts.registry
        is_better = registry.load_if_better(self._run.slot.agent, metrics)
        if is_better and registry.best is not None:
            self._run.tell("rollback", score=metrics.primary_score, to=registry.best.snapshot_id)
        return is_better

    def tell(self, kind: str, **facts: object) -> None:
        """Write what evolution has decided to the records of the run."""
        self._run.tell(kind, **facts)

    def scores_alone(self, agents: Sequence[BaseAgent]) -> list[EvalMetrics]:
        """Score agents, each by itself, on the same held-out episodes; see `Validation.scores_alone`."""
        with self._run.progress.timed("validate"):
            return self._validation.scores_alone(agents)

    # --- the learner ---

    def let_learn(self, agent: BaseAgent) -> None:
        """Let an agent learn from the next window on, with a patience and trials of its own."""
        self._run.slot.install(agent)
        self._run.parts.optimizer.on_new_learner()
        following = self._run.state.window_id + 1
        position = self._run.config.scheduler.transition(self._run.state.position, Event.SPAWNED)
        self._run.state = replace(
            self._run.state.with_new_curve(),
            position=position,
            trial=None,
            reserve=(),  # the policies of the learner before were tested when it ended
            learner_since=following,
            next_evaluation=following,
        )

    def _recover(self, outcome: Outcome, on_dormant: Callable[..., None]) -> None:
        """Go back to the last good state, give the escape in progress up, or end the run; the fault is recorded."""
        fault, window_id = outcome.fault, self._run.state.window_id
        if fault is None:
            return
        event = None
        try:
            if not self._goes_on_after(fault, outcome):
                event = self._give_up_escape(outcome, fault, on_dormant)
        finally:
            self._append(
                outcome,
                verdict=Verdict.NO_EVIDENCE,
                eval_metrics=no_score(window_id),
                fault=str(fault),
                event=event,
            )

    def _goes_on_after(self, fault: Fault, outcome: Outcome) -> bool:
        """Go back to the last good state; False where an escape fails too often for that."""
        if fault.kind == LEARN:
            return False
        last_good = self._run.state.last_good or outcome.hyperparams
        try:
            milder = self._learning.recover(fault, self._run.state.window_id, last_good)
        except NonFiniteError:
            if self._run.state.escape is None:
                raise
            return False
        if fault.kind == DIVERGENCE:
            self._run.change(last_good=milder, trial=None)
        return True

    def _give_up_escape(self, outcome: Outcome, fault: Fault, on_dormant: Callable[..., None]) -> str | None:
        """Ask what follows an escape that cannot go on: what nobody chose does not end the run."""
        state, health = self._run.state, self._run.progress.health
        logger.warning("Escape %r is given up: %s", state.escapes[-1].name, fault.text)
        for kind in (DIVERGENCE, LEARN):
            health.clear(kind)
        self._run.change(position=spent(state.position, scheduler_of(state, self._run.config)), event=None)
        self.execute(Effect.DORMANT, outcome, on_dormant)
        return self._run.state.event

    def _tune(self, metrics: EvalMetrics) -> tuple[TuningRecord, ...]:
        state, optimizer = self._run.state, self._run.parts.optimizer
        if state.learner_since > state.window_id or self._run.slot.is_other:
            return ()  # the score is not that of the present learner, or that is not what the optimizer knows
        if state.position.state not in (LoopState.ACTIVE, LoopState.COOLING) and not optimizer.is_probing:
            return ()  # a value on trial is still settled: else every later dip would be taken for the probe's
        if state.verdict is Verdict.IMPROVED:
            optimizer.on_improvement(metrics)
        elif state.verdict is Verdict.DEGRADED and state.best is not None:
            if state.best.window_id >= state.learner_since:  # a variant does not go back to its parent's values
                optimizer.on_degradation(metrics, state.best.hyperparams.copy())
        elif state.position.state is LoopState.COOLING:
            optimizer.on_plateau(metrics)
        trial = state.trial
        self._run.change(trial=None)
        health = self._run.progress.health
        try:
            step = self._tuner.step(trial, metrics, state.window_id + 1, state.recent)
        except SuggestionError as error:
            if health.fault("suggestion") >= MOST_IN_A_ROW:
                raise
            logger.warning("Nothing is tuned in window %d: %s", state.window_id, error)
            return ()
        health.clear("suggestion")
        self._run.change(trial=step.trial)
        for record in step.records:
            self._run.progress.count_tuning(f"{record.kind}s")
            if record.decision:
                self._run.progress.count_tuning(record.decision)
        if step.records and step.new.params != step.old.params:
            self._run.callbacks.call("on_hyperparam_update", step.old, step.new)
        return step.records

    # --- the record ---

    def record(self, outcome: Outcome) -> None:
        """Add an evaluated window to the history; a fault has been recorded already."""
        tuned, self._tuned = self._tuned, ()
        if outcome.fault is None and outcome.metrics is not None:
            self._append(
                outcome,
                verdict=self._run.state.verdict,
                eval_metrics=outcome.metrics,
                is_best=outcome.is_best,
                tuning=tuned,
                event=self._run.state.event,
            )

    def _append(self, outcome: Outcome, *, verdict: Verdict, **more: Any) -> None:
        state = self._run.state
        record = HistoryRecord(
            window_id=state.window_id,
            env_steps=state.env_steps,
            verdict=verdict.value,
            state=state.position.state.value,
            interval=state.position.interval,
            best_score=state.best_score,
            probed_param=outcome.probed_param,
            hyperparams=outcome.hyperparams,
            start_score=state.start_score,
            **more,
        )
        with self._run.progress.health.surviving_storage("write the history"):
            self._run.parts.history.append(record)

    def _tell_missing(self, metrics: EvalMetrics) -> None:
        if metrics.has_evidence:
            self._warn_once(
                "score",
                "%s gave the score %r in window %d: it decides nothing and never becomes the best. "
                "Return a finite number, or EvalMetrics(..., has_evidence=False) where there is nothing to judge by.",
                who_scored(self._run.parts.evaluator, metrics),
                metrics.primary_score,
                self._run.state.window_id,
            )
        elif self._run.state.without_evidence == WINDOWS_WITHOUT_EVIDENCE:
            self._warn_once(
                "evidence",
                "No episode was completed in %d windows in a row, so nothing can be judged. Use a larger window_size, "
                "give the environment a time limit, pass a val_pipeline that plays whole episodes, or an evaluator "
                "that scores steps (EpisodeReturnEvaluator(reward_weight=1.0)).",
                WINDOWS_WITHOUT_EVIDENCE,
            )

    def _warn_once(self, topic: str, message: str, *args: object) -> None:
        if topic not in self._warned_of:
            self._warned_of.add(topic)
            logger.warning(message, *args)
