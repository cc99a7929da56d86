"""Evolution while the loop runs: the answer to what follows when the learner has learned what it can.

asked by the loop on DORMANT, and when a variant has spent its share of windows:
    which policy is best is settled as at the end of a run: what a learner ends as must not be lost to the next
    the variant that was learning is judged: "new best", "kept" or "discarded"
    the learner is rolled back to the best weights, unless it was just kept: those are its own
    weights are rebalanced by the members' own scores: of the windows that each led, or, where they act together (an
    `EnsembleAgent`), of held-out episodes that each plays alone
answered:
    SPAWN:  a mutated clone of the best learns on, with an optimizer state of its own
    PRUNE:  the weakest member is removed, and the loop goes on as without evolution
    STOP:   the run ends
    NO_OP:  the loop goes on as without evolution
    where the run goes on all the same, as a live one does, the incumbent learns on in place of a variant that did not
    become the best
"""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.decisions.lineage import VariantOutcome
from tensor_optix.core.decisions.succession import (
    Answer,
    Continue,
    Ended,
    LearnerSlot,
    LearnOn,
    Referee,
    Stop,
)
from tensor_optix.core.decisions.trend import MOST_EVALUATIONS
from tensor_optix.core.evolution.alone import Alone
from tensor_optix.core.evolution.learners import Learners
from tensor_optix.core.evolution.pool import PolicyPool
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.meta_controller import MetaAction, MetaController
from tensor_optix.core.regime_detector import RegimeDetector
from tensor_optix.core.search_space import SearchSpace
from tensor_optix.core.training_report import StopReason, evolution_block
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import ContractError
from tensor_optix.support.plain import Json

logger = logging.getLogger(__name__)


class PolicyManagerCallback(LoopCallback):
    """Says what follows when a learner has ended; the loop that it is given to asks and executes the answer.

    Args:
        pm: members, budget and snapshots.
        agent: the one that learns first.
        agent_factory: builds a fresh agent at every call; without it nothing is spawned.
        meta_controller: what decides; None = spawn while the budget lasts, then stop, or watch on.

    Raises:
        ContractError: `agent` is none, `meta_controller` has no `decide`, or `agent_factory` cannot be called.
    """

    def __init__(
        self,
        pm: PolicyPool,
        agent: BaseAgent,
        agent_factory: Callable[[], BaseAgent] | None = None,
        meta_controller: MetaController | None = None,
    ) -> None:
        _check_arguments(agent, agent_factory, meta_controller)
        self.pm = pm
        self.printer: Callable[[str], object] | None = sys.stdout.write
        """Where the report goes at the end of a run that evolved, or could spawn nothing; None = nowhere."""
        self._controller = meta_controller
        self._stop_fn: Callable[[], object] | None = None
        self._alone = Alone(pm, agent)
        self._has_joined = False
        self.learners = Learners(pm, agent, agent_factory, self._alone)
        self._seen: deque[EvalMetrics] = deque(maxlen=MOST_EVALUATIONS)
        """The evaluations of a run that nobody else keeps."""
        self._reason: StopReason | None = None

    # --- taking part in a loop ---

    def set_stop_fn(self, stop: Callable[[], object]) -> None:
        """Say how to end the run, e.g. `cb.set_stop_fn(opt.stop)`; raises `ContractError` if it cannot be called."""
        if not callable(stop):
            raise ContractError(f"set_stop_fn needs a function, e.g. opt.stop, but got {type(stop).__name__}.")
        self._stop_fn = stop

    def join(self, slot: LearnerSlot) -> None:
        """Take part in a loop, whose learner sits in `slot`."""
        self.learners.slot, self._has_joined = slot, True

    def join_run(self, parts: Mapping[str, Any], space: SearchSpace | None, seed: int | None) -> None:
        """Take part in a run, see `PolicyPool.join_run`."""
        self.pm.join_run(parts, space, seed)

    def report(self) -> dict[str, Json]:
        """Return `pm.training_report()`."""
        return self.pm.training_report()

    def run_state(self) -> dict[str, object]:
        """Return members, lineage and counts as plain JSON values, the agents by name."""
        return {**self.learners.state(), "reason": self._reason.value if self._reason else None}

    def write_agents(self, folder: Path) -> None:
        """Write the agents that do not act at present to files in `folder`."""
        self.learners.write_agents(folder)

    def restore_run(self, state: Mapping[str, object], folder: Path) -> BaseAgent:
        """Go on from `run_state` and `write_agents`, and return the learner."""
        self._reason = StopReason(state["reason"]) if state["reason"] else None
        return self.learners.restore(state, folder)

    # --- hooks: they take note ---

    def on_loop_start(self) -> None:
        """Note which agents are members, and say where none can come."""
        self.learners.admit_members()
        if self.pm.max_spawns and not self.learners.can_spawn:
            logger.warning(
                "max_spawns=%d, but there is no agent_factory, so nothing can be spawned. Pass one: "
                "pm.as_callback(agent, agent_factory=make_agent), where make_agent() builds an agent like the first.",
                self.pm.max_spawns,
            )

    def on_improvement(self, snapshot: PolicySnapshot) -> None:
        """Note that the learner has become the best."""
        self.learners.note_best(snapshot)

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Note the learner's score."""
        if eval_metrics is not None and eval_metrics.is_usable:
            self._seen.append(eval_metrics)
        self.learners.note_window(window_id, eval_metrics)

    def on_dormant(self, window_id: int) -> None:
        """Where no loop asks, answer all the same: judge, rebalance, roll back, and end the run where that is due."""
        if self._has_joined:
            return
        self.learners.window_id = window_id
        ended = Ended(
            window_id=window_id, is_dormant=True, history=tuple(self._seen), watches=False, referee=self._alone
        )
        answer = self._next(ended, self.learners.own(ended.history))
        if isinstance(answer, LearnOn):
            self._alone.install(answer.agent)
        if isinstance(answer, Stop):
            self._stop_alone()

    def on_loop_stop(self) -> None:
        """Where no loop has joined, conclude."""
        if not self._has_joined:
            self.conclude(self._reason or StopReason.STOPPED)

    def _stop_alone(self) -> None:
        if self._stop_fn is None:
            logger.warning("Evolution is over, but nothing was given to end the run with: cb.set_stop_fn(opt.stop).")
        else:
            self._stop_fn()

    # --- the answer to what follows ---

    @property
    def is_spent(self) -> bool:
        """True where a variant has had as many windows as the first agent took."""
        return self.learners.is_spent

    def next(self, ended: Ended) -> Answer:
        """Judge, rebalance, roll back, decide, and return what is to follow."""
        self.learners.window_id = ended.window_id
        # On DORMANT the loop knows an evaluation that `on_episode_end` tells only later.
        answer = self._next(ended, self.learners.own(ended.history, also=int(ended.is_dormant)))
        if (
            isinstance(answer, Continue)
            and not ended.is_dormant
            and self.learners.variant is None
            and not ended.watches
        ):
            answer = self._stopped(StopReason.CONVERGED)  # no agent has taken its place
        return answer

    def conclude(self, reason: StopReason) -> None:
        """Judge a variant that was still learning, and print the report, once."""
        if self._has_joined:
            self.learners.note_tested_best()
        # Where several act together, the best policy is restored by now: no agent that has a part in it may leave.
        self.learners.judge_variant(self.learners.newest, makes_room=not self.learners.slot.is_joint)
        has_evolved = self.pm.newest_lineage is not None or self._reason is not None or self.pm.max_spawns is not None
        if self.printer is not None and has_evolved:
            self.printer(evolution_block(self.pm.training_report(), reason.sentence) + "\n")
        self._reason = None

    def _next(self, ended: Ended, history: Sequence[EvalMetrics]) -> Answer:
        self.learners.fix_share()
        self.pm.set_regime(RegimeDetector().detect(history))
        if not self._is_last_turn(ended, history):
            self._settle(ended.referee)
            outcome = self.learners.judge_variant(history)
            if outcome is not None:
                ended.referee.tell("variant", outcome=outcome.value, lineage=_lineage(self.pm))
            # A variant that was kept has weights of its own: with the best's it would be a copy of its parent.
            if outcome is not VariantOutcome.KEPT and history and ended.referee.roll_back(history[-1]):
                logger.info("Rolled back to the best snapshot.")
        self._score_members(ended.referee)
        self.pm.auto_update_weights()
        answer: Answer = Continue()
        match self._decide(history):
            case MetaAction.SPAWN:
                answer = self.learners.spawned(history) or answer
                if isinstance(answer, LearnOn):
                    ended.referee.tell("spawn", lineage=_lineage(self.pm))
            case MetaAction.PRUNE:
                self.learners.prune()
                ended.referee.tell("prune", members=len(self.pm.agents))
            case MetaAction.STOP if not (ended.watches and self.pm.budget_exhausted):
                answer = self._stopped(StopReason.BUDGET if self.pm.budget_exhausted else StopReason.CONVERGED)
            case _:
                pass
        if ended.watches and self.learners.variant is None and isinstance(answer, Continue):
            answer = self.learners.recalled() or answer
        return answer

    def _is_last_turn(self, ended: Ended, history: Sequence[EvalMetrics]) -> bool:
        """Whether the run ends with this variant: its last tests come first then, and may crown what it ends as.

        Where several act together they are tested as they will be handed back: without those that do not stay.
        """
        if not self._has_joined or self.learners.variant is None or self.learners.slot.is_joint:
            return False
        if ended.watches or not self.pm.budget_exhausted:
            return False
        return self._decide(history) is MetaAction.STOP

    def _settle(self, referee: Referee) -> None:
        if not self._has_joined or self.pm.budget_exhausted:
            return  # the end of the run settles it
        try:
            referee.settle()
        except Exception:
            logger.exception("The best policies could not be tested; they keep the scores that they have.")
        self.learners.note_tested_best()

    def _score_members(self, referee: Referee) -> None:
        """Where several act together, let each member play alone: what they score together is no member's own."""
        if not self.learners.slot.is_joint:
            return
        try:
            scores = referee.scores_alone(self.pm.agents)
        except Exception:
            logger.exception("The members could not be scored; they weigh what they weighed.")
            return
        for index, metrics in enumerate(scores):
            if metrics.is_usable:
                self.pm.record_evaluation(index, metrics)

    def _decide(self, history: Sequence[EvalMetrics]) -> MetaAction:
        if self._controller is None:
            if self.pm.budget_exhausted:
                return MetaAction.STOP
            return MetaAction.SPAWN if self.learners.can_spawn else MetaAction.NO_OP
        action = self._controller.decide(history, self.pm.status())
        if not isinstance(action, MetaAction):
            raise ContractError(
                f"{type(self._controller).__name__}.decide must return a MetaAction, but returned {action!r}."
            )
        return action

    def _stopped(self, reason: StopReason) -> Stop:
        self._reason = self._reason or reason
        return Stop(self._reason, self._stop_fn)


def _lineage(pool: PolicyPool) -> dict[str, Json] | None:
    """Return where the newest variant came from, and what became of it, as plain values."""
    return pool.newest_lineage.to_dict() if pool.newest_lineage is not None else None


def _check_arguments(agent: object, agent_factory: object, meta_controller: object) -> None:
    if not isinstance(agent, BaseAgent):
        raise ContractError(f"agent must be a BaseAgent, but got {type(agent).__name__}.")
    if agent_factory is not None and not callable(agent_factory):
        raise ContractError(f"agent_factory must be a function, but got {type(agent_factory).__name__}.")
    if isinstance(meta_controller, type):
        raise ContractError(f"meta_controller must be an object, but got a class. Write {meta_controller.__name__}().")
    if meta_controller is not None and not callable(getattr(meta_controller, "decide", None)):
        raise ContractError(
            f"meta_controller must have decide(history, pm_status), but got {type(meta_controller).__name__}."
        )
