"""Trying to escape before a learner counts as trained, as `decisions.escapes` says; part of the controller's hands.

An escape is no other learner: the best policy goes on in the same agent, on the same learning curve, with something
changed. So it is saved and resumed with the state of the run, and what it finds is tested as every candidate is. In one
of them an agent of another algorithm has the learner's place, and keeps it where the escape is kept; else the best
snapshot brings the agent that it fits back (`agents_by_algorithm`).
"""

import logging
from collections.abc import Callable, Mapping

from tensor_optix.core.backoff_scheduler import Event
from tensor_optix.core.base_agent import BaseAgent, LearnsOffPolicy, RestartsOptimizer
from tensor_optix.core.base_pipeline import ResizesWindow
from tensor_optix.core.decisions.escape_records import (
    ALGORITHM,
    WINDOW_SIZE,
    EscapeOutcome,
    EscapeRecord,
    other_algorithm,
    window_size_in_force,
)
from tensor_optix.core.decisions.escapes import Escape, Learner, Standing, changed, is_worth_trying, next_escape
from tensor_optix.core.decisions.policy_change import still_changes
from tensor_optix.core.hyperparams import read_back
from tensor_optix.core.loop.decider import patience_with, scheduler_of
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.untrained import is_ahead_of_start
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.search_space import SearchSpace
from tensor_optix.core.types import HyperparamSet, PolicySnapshot
from tensor_optix.errors import HyperparamError, TensorOptixError

logger = logging.getLogger(__name__)


class Escaping:
    """Begins and judges escapes.

    Args:
        run: what the hands share.
        validation: where candidates are tested; without episodes that are fixed by seeds nothing is tried.
        settle: tests the leading policies, the learner's own included, until one holds.
    """

    def __init__(self, run: Run, validation: Validation, settle: Callable[[], None]) -> None:
        self._run = run
        self._validation = validation
        self._settle = settle

    def goes_on(self) -> bool:
        """Judge the escape that has ended, and begin the next one; False where nothing is left to try."""
        config, state = self._run.config, self._run.state
        if not (config.escapes and config.patience.is_scaled) or self._run.slot.is_joint:
            return False
        if self._validation.seeded is None or state.best is None:
            return False
        ended = self._judged()
        if ended in (None, EscapeOutcome.KEPT):
            self._run.change(used_up=str(patience_with(state, config)))
        if ended is EscapeOutcome.KEPT and not patience_with(self._run.state, config).is_exhausted:
            self._learn_on()
            return True
        if self._next() is None:
            return False
        if ended is None and config.final_evaluation:
            self._settle_learner()
        while (due := self._next()) is not None:
            if self._begin(*due):
                return True
        return False

    def close(self) -> None:
        """Where the run ends with an escape that was not kept, give the user's agent the best policy's values back."""
        if self._run.state.escape is not None:
            self._end(EscapeOutcome.BROKEN_OFF)
        escapes, best = self._run.state.escapes, self._run.state.best
        self.resize_windows()
        if not escapes or best is None or escapes[-1].outcome is EscapeOutcome.KEPT:
            return
        if not self._run.config.restore_best:
            self._run.parts.registry.load_best(self._run.slot.agent, best)
        self._put_in_force(self._params_of(best, self._run.slot.agent))

    def resize_windows(self) -> None:
        """Let the pipeline's windows be as long as the escapes have left them; also where a run is resumed."""
        size, pipeline = window_size_in_force(self._run.state.escapes), self._run.parts.pipeline
        if size is not None and isinstance(pipeline, ResizesWindow):
            pipeline.window_size = size

    # --- judging ---

    def _judged(self) -> EscapeOutcome | None:
        """End the escape in progress and return what it came to; None where there was none."""
        return None if self._run.state.escape is None else self._end(EscapeOutcome.GIVEN_UP)

    def _end(self, otherwise: EscapeOutcome) -> EscapeOutcome:
        """End the escape in progress: it is kept if the best policy is its own."""
        state = self._run.state
        escape, best = state.escapes[-1], state.best
        is_kept = best is not None and best.window_id >= escape.began_window
        ended = escape.ended(
            EscapeOutcome.KEPT if is_kept else otherwise,
            window_id=state.window_id,
            env_steps=state.env_steps,
            score=escape.score_before if state.best_score is None else state.best_score,
        )
        self._run.change(escapes=(*state.escapes[:-1], ended), event=_event(ended))
        return ended.outcome

    def _learn_on(self) -> None:
        """Go on learning as usual: the learning curve has risen, and its patience is no longer used up."""
        state = self._run.state
        position = scheduler_of(state, self._run.config).transition(state.position, Event.SPAWNED)
        self._run.change(position=position, next_evaluation=self._run.state.window_id + 1)

    # --- beginning ---

    def _next(self) -> tuple[Escape, int] | None:
        """Return the escape that is due and its share of the steps; None where none is."""
        state, config = self._run.state, self._run.config
        scheduler = scheduler_of(state, config)
        if state.best is None or self._has_foreign_best():
            return None
        verdict = patience_with(state, config)
        standing = Standing(
            phase=verdict.phase,
            target=config.patience.target,
            best_score=state.best.eval_metrics.primary_score,
            changes=still_changes(state.recent[-scheduler.dormant_threshold :]),
            is_ahead=None if config.is_pretrained else is_ahead_of_start(self._run),
        )
        if not is_worth_trying(standing):
            return None
        least = scheduler.dormant_threshold * scheduler.base_interval * state.steps_per_window
        learner, is_unlearned = self._learner(state.best), standing.is_unlearned
        return next_escape(state.escapes, learner, state.env_steps, least, is_unlearned=is_unlearned)

    def _learner(self, best: PolicySnapshot) -> Learner:
        agent, space = self._next_agent(), self._run.parts.optimizer.search_space
        params, is_other = self._params_of(best, agent), other_algorithm(self._run.state.escapes) is not None
        if space is None or (space and is_other):  # what the optimizer has is that of the run's own algorithm
            space = SearchSpace(agent.default_param_bounds).fitted(params)
        return Learner(
            params=params,
            bounds=space,
            can_restart=isinstance(agent, RestartsOptimizer),
            window_size=self._window_size(agent),
            has_other_algorithm=self._other_algorithm() is not None,
        )

    def _next_agent(self) -> BaseAgent:
        """Return who goes on from the best policy: the run's own agent where another algorithm's was in vain."""
        is_in_vain = self._run.slot.is_other and other_algorithm(self._run.state.escapes) is None
        return self._run.parts.agent if is_in_vain else self._run.slot.agent

    def _other_algorithm(self) -> str | None:
        """Return the algorithm that is left to be tried; one that was tried is not, whatever came of it."""
        agents = self._run.parts.agents
        if agents is None or self._was_other_tried() or self._run.parts.test_pipeline is not None:
            return None
        return agents.other

    def _was_other_tried(self) -> bool:
        return any(one.is_other_algorithm for one in self._run.state.escapes)

    def _has_foreign_best(self) -> bool:
        """Return whether the best policy is none that the learner can go on from: it is of the other algorithm."""
        agents, best, registry = self._run.parts.agents, self._run.state.best, self._run.parts.registry
        if agents is None or best is None or not self._was_other_tried():
            return False
        return agents.recorded(registry.path_of(best)) != agents.algorithm_of(self._next_agent())

    def _window_size(self, agent: BaseAgent) -> int | None:
        """Return how long windows are where longer ones are of use: to agents of ours that learn from whole ones."""
        pipeline = self._run.parts.pipeline
        is_off_policy = isinstance(agent, LearnsOffPolicy) and agent.learns_off_policy
        if is_off_policy or not isinstance(agent, RestartsOptimizer) or not isinstance(pipeline, ResizesWindow):
            return None
        return pipeline.window_size if pipeline.has_fixed_windows else None

    def _params_of(self, best: PolicySnapshot, agent: BaseAgent) -> dict[str, object]:
        """Return the hyper-parameters that the best policy was found with; those not saved are the agent's own."""
        own = agent.get_hyperparams().params
        return {**own, **{name: value for name, value in best.hyperparams.params.items() if name in own}}

    def _settle_learner(self) -> None:
        """Test what the learner has ended as before it is changed: it must not be lost."""
        try:
            self._settle()
        except Exception:
            logger.exception("The best policies could not be tested; they keep the scores that they have.")

    def _begin(self, escape: Escape, share: int) -> bool:
        """Let the best policy learn on, changed; False where the agent does not take the new values."""
        best = self._run.parts.registry.load_best(self._run.slot.agent, self._run.state.best)
        self.resize_windows()  # those of an escape in vain are forgotten
        if escape.is_other_algorithm:
            return self._begin_anew(escape, share, best)
        learner = self._learner(best)
        new, size = changed(escape, learner), learner.window_size
        longer = {} if size is None or escape.window_factor == 1 else {WINDOW_SIZE: (size, escape.window_factor * size)}
        moved = {name: (learner.params[name], value) for name, value in new.items()}
        self._note(escape, share, best, {**moved, **longer})
        agent = self._run.slot.agent
        if isinstance(agent, RestartsOptimizer):  # its moments are those of another policy
            agent.restart_optimizer()
        try:
            self._put_in_force({**learner.params, **new})
            read_back(agent, new)
        except HyperparamError as error:
            logger.warning("Escape %r is left out: %s", escape.name, error)
            self._put_in_force(learner.params)
            self._end(EscapeOutcome.GIVEN_UP)
            return False
        self._let_learn()
        return True

    def _begin_anew(self, escape: Escape, share: int, best: PolicySnapshot) -> bool:
        """Let an untrained agent of another algorithm learn; False where it cannot be built."""
        agents, name, slot = self._run.parts.agents, self._other_algorithm(), self._run.slot
        if agents is None or name is None or not isinstance(slot, Single):
            return False
        before, pipeline = agents.algorithm_of(slot.agent), self._run.parts.pipeline
        changes: dict[str, tuple[object, object]] = {ALGORITHM: (before, name)}
        size = agents.window_size(name)
        if size is not None and isinstance(pipeline, ResizesWindow) and pipeline.window_size != size:
            changes[WINDOW_SIZE] = (pipeline.window_size, size)
        self._note(escape, share, best, changes)
        try:
            slot.replace(agents.build(name, to_learn=True))
        except TensorOptixError as error:
            logger.warning("Escape %r is left out: %s", escape.name, error)
            self._end(EscapeOutcome.GIVEN_UP)
            self.resize_windows()
            return False
        self._let_learn()
        return True

    def _note(
        self, escape: Escape, share: int, best: PolicySnapshot, changes: Mapping[str, tuple[object, object]]
    ) -> None:
        """Let an escape be in progress, with windows as long as it wants them."""
        state = self._run.state
        record = EscapeRecord(
            name=escape.name,
            began_window=state.window_id + 1,
            began_step=state.env_steps,
            began_evaluation=state.curve.evaluations,
            share=share,
            score_before=best.eval_metrics.primary_score,
            changes=changes,
        )
        self._run.change(escapes=(*state.escapes, record))
        self.resize_windows()

    def _let_learn(self) -> None:
        """Let the agent learn in the escape that is in progress, from the next window on."""
        self._run.parts.optimizer.on_new_learner()
        state = self._run.state
        record = state.escapes[-1]
        self._run.change(
            position=scheduler_of(state, self._run.config).transition(state.position, Event.SPAWNED),
            trial=None,
            last_good=self._run.slot.agent.get_hyperparams().copy(),
            learner_since=record.began_window,
            next_evaluation=record.began_window,
            event=_event(record, before=state.event),
        )

    def _put_in_force(self, params: Mapping[str, object]) -> None:
        agent = self._run.slot.agent
        agent.set_hyperparams(HyperparamSet(dict(params), agent.get_hyperparams().episode_id))


def _event(record: EscapeRecord, before: str | None = None) -> str:
    """Return what has happened to an escape, for the history, after what happened in the same window."""
    text = f"escape {record.name}: {'begun' if record.is_running else record.outcome}"
    return f"{before}; {text}" if before else text
