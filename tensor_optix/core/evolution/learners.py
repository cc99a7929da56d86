"""The learners of an evolving run: the one that learns, the incumbent, and the variant on its way to be judged."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.lineage import MOST_FAILED, EvolutionCounts, Lineage, VariantOutcome, holds
from tensor_optix.core.decisions.succession import LearnerSlot, LearnOn
from tensor_optix.core.evolution.pool import PolicyPool
from tensor_optix.core.evolution.population import Population
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError, ContractError
from tensor_optix.support.plain import SavedState

logger = logging.getLogger(__name__)


class Learners:
    """Knows which agent learns and which is the incumbent, spawns variants, and judges them.

    Args:
        pool: members, budget and snapshots.
        agent: the one that learns first.
        factory: builds the variants; None = none can be spawned.
        slot: where the learner sits.
    """

    def __init__(
        self, pool: PolicyPool, agent: BaseAgent, factory: Callable[[], BaseAgent] | None, slot: LearnerSlot
    ) -> None:
        self.learner = self.incumbent = agent
        self.slot = slot
        self.variant: Lineage | None = None
        """The variant that is learning; None while it is the first agent."""
        self._has_factory = factory is not None
        self._pool = pool
        self._population = Population(agent, factory)
        self._pins: CheckpointRegistry | None = None
        """Pins its parent: a registry of its own, so that pins of the user's stay what they are."""
        self.window_id = -1
        self._begun = 0
        """First window of the present learner."""
        self._heard = 0
        """Usable evaluations of the present learner whose window is over."""
        self._newest: EvalMetrics | None = None
        """The last of them."""
        self._share: int | None = None
        """Windows that a variant may have: as many as the first agent took."""

    @property
    def can_spawn(self) -> bool:
        """True where there is a factory, which has not failed so often that it is given up."""
        return self._has_factory and self._pool.failed_spawns < MOST_FAILED

    # --- what is noted ---

    def admit_members(self) -> None:
        """Note which agents are members from the beginning."""
        self._population.admit(self._pool.agents)

    def note_best(self, snapshot: PolicySnapshot) -> None:
        """Note that the learner has become the best."""
        if self.variant is not None:
            self.variant.snapshot = snapshot.snapshot_id
            self.variant.score = snapshot.eval_metrics.primary_score

    def note_tested_best(self) -> None:
        """Note that the best is by now one of the present learner, which a test may have crowned."""
        best = self._pool.registry.best
        if best is not None and best.window_id >= self._begun:
            self.note_best(best)

    def note_window(self, window_id: int, metrics: EvalMetrics | None) -> None:
        """Note a window, and the score of the learner where it was evaluated."""
        self.window_id = window_id
        if metrics is None or not metrics.is_usable or window_id < self._begun:
            return
        self._heard, self._newest = self._heard + 1, metrics
        if self._is_member(self.learner) and not self.slot.is_joint:
            self._pool.record_evaluation(self._pool.index_of(self.learner), metrics)

    @property
    def is_spent(self) -> bool:
        """True where a variant has had as many windows as the first agent took."""
        return self.variant is not None and self.windows >= (self._share or math.inf)

    def fix_share(self) -> None:
        """Let a variant have as many windows as the first agent took until it was asked for the first time."""
        self._share = self._share or max(self.windows, 1)

    @property
    def windows(self) -> int:
        """Windows that the present learner has had."""
        return self.window_id + 1 - self._begun

    def own(self, known: Sequence[EvalMetrics], also: int = 0) -> tuple[EvalMetrics, ...]:
        """Return the evaluations of the present learner, with `also` more than were heard of."""
        return tuple(known)[max(len(known) - self._heard - also, 0) :]

    @property
    def newest(self) -> tuple[EvalMetrics, ...]:
        """The newest evaluation of the present learner; empty where there is none."""
        return () if self._newest is None else (self._newest,)

    # --- variants ---

    def spawned(self, history: Sequence[EvalMetrics]) -> LearnOn | None:
        """Spawn a variant, and let it learn on; None where nothing could be spawned."""
        if not self.can_spawn or self._pool.budget_exhausted:
            return None
        if not self._pool.agents:
            self._pool.add_agent(self.incumbent)
            for metrics in history:
                self._pool.record_evaluation(0, metrics)
        try:
            variant = self._pool.spawn_variant(self._population.make(), self._pool.adaptive_noise_scale(history))
        except BaseException as error:
            self._pool.count_failed_spawn()
            if isinstance(error, ContractError) or not isinstance(error, Exception):
                raise  # a mistake in the program, which no other spawn will mend, or the user's own stop
            logger.exception(
                "A spawn failed; the learner goes on as it is%s.", "" if self.can_spawn else ", and no other is tried"
            )
            return None
        weights = dict(zip(map(id, self._pool.agents), self._pool.weights, strict=True))
        self._pool.add_agent(variant, weight=weights.get(id(self.incumbent), 1.0))
        self.variant = self._pool.newest_lineage
        self._keep_parent()
        return self._learning_on(variant)

    def recalled(self) -> LearnOn | None:
        """Where the run goes on, let the incumbent learn in place of a variant that did not become the best."""
        if self.learner is self.incumbent or self.slot.is_joint:
            return None
        self._pool.registry.load_best(self.incumbent)
        return self._learning_on(self.incumbent)

    def prune(self) -> None:
        """Remove the weakest member, never the incumbent."""
        self._pool.prune(keep=(self.incumbent,))
        self._elect()

    def judge_variant(self, history: Sequence[EvalMetrics], *, makes_room: bool = True) -> VariantOutcome | None:
        """Judge the variant that was learning, make room for it or remove it; None if there was none."""
        self._pool.retest_lineage()
        lineage, self.variant = self.variant, None
        self._keep_parent()
        if lineage is None:
            return None
        lineage.windows = self.windows
        if lineage.snapshot is not None:
            lineage.outcome = VariantOutcome.NEW_BEST
            self.incumbent = self.learner
        elif history:
            lineage.score = history[-1].primary_score
            is_kept = holds(history[-1], lineage.parent_score)
            lineage.outcome = VariantOutcome.KEPT if is_kept else VariantOutcome.DISCARDED
        if lineage.outcome in (VariantOutcome.DISCARDED, VariantOutcome.NOT_JUDGED):
            self._pool.discard(self.learner)  # one that was never evaluated has not held either
        elif makes_room:
            self._make_room()
        self._elect()
        return lineage.outcome

    def _learning_on(self, agent: BaseAgent) -> LearnOn:
        self.learner = agent
        self._begun, self._heard, self._newest = self.window_id + 1, 0, None
        return LearnOn(agent)

    def _is_member(self, agent: BaseAgent) -> bool:
        return any(member is agent for member in self._pool.agents)

    def _make_room(self) -> None:
        limit = self._pool.max_ensemble_size
        if limit is not None and self._pool.ensemble_size > limit:
            self._pool.prune(self._pool.ensemble_size - limit, keep=(self.incumbent,))

    def _keep_parent(self) -> None:
        """Keep from being pruned the snapshot that the variant began as, for as long as it learns; and no other."""
        self._pins = CheckpointRegistry(self._pool.registry.directory)
        if self.variant is not None:
            try:
                self._pins.pin(self.variant.parent)
            except CheckpointCorruptError as error:
                logger.warning("The snapshot that the learning variant began as cannot be kept: %s", error)

    def _elect(self) -> None:
        """Where several act together, let the incumbent be the learner in place of one that is no longer a member."""
        if self.slot.is_joint and not self._is_member(self.learner) and self._is_member(self.incumbent):
            self.learner = self.incumbent
            self.slot.install(self.learner)

    # --- saving ---

    def state(self) -> dict[str, object]:
        """Return members, lineage and counts as plain JSON values, the agents by name."""
        population = self._population
        population.keep_only([*self._pool.agents, self.learner, self.incumbent])
        return {
            "n_made": population.n_made,
            "agents": population.hyperparams(),
            "learner": population.name_of(self.learner),
            "incumbent": population.name_of(self.incumbent),
            "manager": self._pool.members_state(population.name_of),
            "is_variant_learning": self.variant is not None,
            "window_id": self.window_id,
            "begun": self._begun,
            "heard": self._heard,
            "newest": None if self._newest is None else self._newest.to_dict(),
            "share": self._share,
        }

    def write_agents(self, folder: Path) -> None:
        """Write the agents that do not act at present to files in `folder`."""
        self._population.save(folder, but=self.slot.agent)

    def restore(self, state: SavedState, folder: Path) -> BaseAgent:
        """Go on from `state` and `write_agents`, and return the learner.

        Raises:
            CheckpointCorruptError: the state has counts that no run can have.
        """
        population, n_made = self._population, int(state["n_made"])
        counts = EvolutionCounts.from_dict(state["manager"]["counts"])
        if not 0 <= n_made <= counts.spawns + counts.failed:
            raise CheckpointCorruptError(
                f"The saved run has called its agent_factory {n_made} times, but has counted {counts.spawns} spawns "
                f"and {counts.failed} that failed."
            )
        population.admit(self._pool.agents)
        population.remake(n_made, state["agents"])
        population.load(folder, state["agents"], but=population[state["learner"]])
        self.learner, self.incumbent = population[state["learner"]], population[state["incumbent"]]
        self._pool.restore_members(state["manager"], population.__getitem__)
        self.variant = self._pool.newest_lineage if state["is_variant_learning"] else None
        self._keep_parent()
        self._share = state["share"]
        self.window_id, self._begun = int(state["window_id"]), int(state["begun"])
        self._heard, newest = int(state["heard"]), state.get("newest")
        self._newest = None if newest is None else EvalMetrics.from_dict(newest)
        return self.learner
