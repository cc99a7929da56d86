"""How the members of an ensemble come (spawn) and go (prune), the budget for it, and the account of it."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import logging
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.lineage import EvolutionCounts, Lineage
from tensor_optix.core.decisions.mutation import PerturbsWeights, adaptive_noise_scale, mutate
from tensor_optix.core.evolution.ensemble import Ensemble
from tensor_optix.core.hyperparams import read_back
from tensor_optix.core.search_space import SearchSpace
from tensor_optix.core.storage.policy_state import Stateful
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot, jsonable
from tensor_optix.errors import (
    CheckpointMismatchError,
    ContractError,
    EvolutionError,
    InvalidArgumentError,
    TensorOptixError,
)
from tensor_optix.support.arguments import check_amount, check_count
from tensor_optix.support.plain import Json, SavedState

logger = logging.getLogger(__name__)


class PolicyPool(Ensemble):
    """The members of an ensemble, the variants spawned from the best snapshot, and the account of both.

    Args:
        registry: the snapshots that variants are cloned from.
        score_window: how many of a member's newest scores count.
        max_spawns: variants at most; None = no limit.
        max_ensemble_size: members at most; the weakest make way. None = no limit.
        weight_noise: disturb a variant's weights too, by this share of the noise scale; its agent must offer
            `perturb_weights` (`PerturbsWeights`).
        seed: where mutations and drawn actions come from; None takes one from the system.

    Raises:
        ContractError: `registry` is none.
        InvalidArgumentError: a negative budget, noise or seed, or a size or window below 1.
    """

    def __init__(
        self,
        registry: CheckpointRegistry,
        score_window: int = 10,
        max_spawns: int | None = None,
        max_ensemble_size: int | None = None,
        *,
        weight_noise: float = 0.0,
        seed: int | None = None,
    ) -> None:
        if not isinstance(registry, CheckpointRegistry):
            raise ContractError(f"registry must be a CheckpointRegistry, but got {type(registry).__name__}.")
        for name, value, least in (("max_spawns", max_spawns, 0), ("max_ensemble_size", max_ensemble_size, 1)):
            if value is not None:
                check_count(name, value, least)
        check_amount("weight_noise", weight_noise)
        super().__init__(score_window, seed=seed)
        self.registry = registry
        self.max_spawns = max_spawns
        self.max_ensemble_size = max_ensemble_size
        self._weight_noise = weight_noise
        self._counts = EvolutionCounts()
        self._regime = "unknown"
        self._is_seeded = seed is not None
        self._space: SearchSpace | None = None
        """What the run's optimizer may tune; None = each agent's own bounds count."""
        self._warned_of_clones = False
        self._shells: list[weakref.ref[BaseAgent]] = []
        """Every agent that became a variant, for as long as it lives: none may do so twice."""

    def join_run(self, parts: Mapping[str, Stateful], space: SearchSpace | None, seed: int | None) -> None:
        """Take part in a run: load its policies with their state, mutate what it tunes, repeat as it repeats.

        Args:
            parts: what is saved and restored together with the policies of the run, by name.
            space: what may be mutated; None = the bounds of each agent.
            seed: where mutations come from, unless this was built with a seed of its own.
        """
        for name, part in parts.items():
            self.registry.attach(name, part)
        self._space = space
        if seed is not None and not self._is_seeded:
            self._rng, self._is_seeded = np.random.default_rng(seed), True

    def prune(self, bottom_k: int = 1, *, keep: Sequence[BaseAgent] = ()) -> list[BaseAgent]:
        """Remove the weakest members, see `Ensemble.prune`, and count them."""
        removed = super().prune(bottom_k, keep=keep)
        self._counts.pruned += len(removed)
        return removed

    def members_state(self, name_of: Callable[[BaseAgent], str]) -> dict[str, object]:
        """Return the members, the counts and the lineage, as plain JSON values."""
        return {**super().members_state(name_of), "counts": self._counts.to_dict(), "regime": self._regime}

    def restore_members(self, state: SavedState, agent_of: Callable[[str], BaseAgent]) -> None:
        """Go on from `members_state`."""
        super().restore_members(state, agent_of)
        self._counts = EvolutionCounts.from_dict(state["counts"])
        self._regime = str(state["regime"])

    # --- evolution ---

    def set_regime(self, label: str) -> None:
        """Note the regime that the scores are in, for the report; raises `InvalidArgumentError` unless it is text."""
        if not isinstance(label, str):
            raise InvalidArgumentError(f"The label of a regime must be text, but got {label!r}.")
        self._regime = label

    def adaptive_noise_scale(
        self,
        history: Sequence[EvalMetrics],
        min_scale: float = 0.001,
        max_scale: float = 0.1,
        window: int = 10,
    ) -> float:
        """Return how strongly to mutate; see `mutation.adaptive_noise_scale`."""
        return adaptive_noise_scale(history, min_scale, max_scale, window)

    def evolve(self, agent: BaseAgent, current_score: float | EvalMetrics) -> bool:
        """Load the best snapshot into `agent` if that is better than its current score; True if it was."""
        return self.registry.load_if_better(agent, current_score)

    def spawn_variant(
        self,
        agent_shell: BaseAgent,
        noise_scale: float = 0.01,
        mutation_fn: Callable[[BaseAgent], None] | None = None,
    ) -> BaseAgent:
        """Turn a fresh agent into a mutated clone of the best snapshot, and return it.

        It takes the snapshot's weights and hyper-parameters; those that the run's optimizer may tune (outside a run,
        its `default_param_bounds`) are moved, see `mutation.mutate`. Its optimizer state is its own.

        Args:
            agent_shell: an agent built like the one that was saved.
            noise_scale: standard deviation of the moves, as a share of each range.
            mutation_fn: called with the clone last, for mutations of your own.

        Raises:
            EvolutionError: the budget is spent, or there is no snapshot yet.
            CheckpointMismatchError: the shell cannot take the snapshot's weights.
            HyperparamError: a moved value did not arrive.
            ContractError: it is no agent, is a member or became a variant already, or cannot take weight noise; or
                `mutation_fn` is no function.
        """
        if mutation_fn is not None and not callable(mutation_fn):
            raise ContractError(f"mutation_fn must be a function, but got {type(mutation_fn).__name__}.")
        self._check_shell(agent_shell)
        parent = self._clone_best(agent_shell)
        own = agent_shell.get_hyperparams().params
        inherited = {name: value for name, value in parent.hyperparams.params.items() if name in own}
        bounds = agent_shell.default_param_bounds if self._space is None else self._space
        space = SearchSpace({name: bound for name, bound in bounds.items() if name in inherited}).fitted(inherited)
        mutated = mutate({**own, **inherited}, space, noise_scale, self._rng)
        agent_shell.set_hyperparams(HyperparamSet(mutated))
        read_back(agent_shell, {name: mutated[name] for name in space})
        if isinstance(agent_shell, PerturbsWeights) and self._weight_noise > 0.0:
            agent_shell.perturb_weights(self._weight_noise * noise_scale, self._rng)
        if mutation_fn is not None:
            mutation_fn(agent_shell)
        elif not space and self._weight_noise == 0.0:
            self._warn_of_clones(agent_shell)
        in_force = agent_shell.get_hyperparams().params
        self._shells = [*(shell for shell in self._shells if shell() is not None), weakref.ref(agent_shell)]
        self._counts.spawns += 1
        self._counts.lineages.append(
            Lineage(
                number=self._counts.spawns,
                parent=parent.snapshot_id,
                parent_score=parent.eval_metrics.primary_score,
                noise_scale=noise_scale,
                changes={n: (old, in_force[n]) for n, old in inherited.items() if n in in_force and in_force[n] != old},
            )
        )
        return agent_shell

    def _check_shell(self, shell: BaseAgent) -> None:
        if not isinstance(shell, BaseAgent):
            raise ContractError(f"agent_factory must return a BaseAgent, but got {type(shell).__name__}.")
        if any(known is shell for known in (*self.agents, *(used() for used in self._shells))):
            raise ContractError(
                f"agent_factory returned the same {type(shell).__name__} again, which is a member or variant already. "
                f"It must build a new agent at every call."
            )
        if self._weight_noise > 0.0 and not isinstance(shell, PerturbsWeights):
            raise ContractError(
                f"weight_noise={self._weight_noise!r} needs an agent with perturb_weights(scale, rng), which "
                f"{type(shell).__name__} has not. Give it one, or leave weight_noise at 0."
            )
        if self.budget_exhausted:
            raise EvolutionError(f"All {self.max_spawns} spawns are used. Raise max_spawns.")

    def _warn_of_clones(self, shell: BaseAgent) -> None:
        if not self._warned_of_clones:
            self._warned_of_clones = True
            logger.warning(
                "Nothing of %s may be mutated, so its variants begin as exact copies of the best. Give the optimizer "
                "param_bounds, the agent default_param_bounds, or the PolicyManager weight_noise.",
                type(shell).__name__,
            )

    def _clone_best(self, shell: BaseAgent) -> PolicySnapshot:
        if self.registry.best is None:
            raise EvolutionError(
                f"{str(self.registry.directory)!r} holds no scored snapshot to spawn from. Train first."
            )
        try:
            return self.registry.load_best(shell)
        except TensorOptixError:
            raise
        except Exception as error:
            raise CheckpointMismatchError(
                f"{type(shell).__name__} cannot take the weights of the best snapshot: {error!r}. Build it like the "
                f"agent that was saved."
            ) from error

    @property
    def newest_lineage(self) -> Lineage | None:
        """The variant that was spawned last."""
        return self._counts.lineages[-1] if self._counts.lineages else None

    def retest_lineage(self) -> None:
        """Let the lineage tell the scores that its snapshots have by now: the best are tested again and again."""
        scores = {s.snapshot_id: s.eval_metrics.primary_score for s in self.ranked_snapshots}
        for lineage in self._counts.lineages:
            lineage.retest(scores)

    def count_failed_spawn(self) -> None:
        """Note that a spawn has come to nothing."""
        self._counts.failed += 1

    @property
    def failed_spawns(self) -> int:
        """Spawns that have come to nothing."""
        return self._counts.failed

    @property
    def budget_exhausted(self) -> bool:
        """True if no variant may be spawned any more."""
        return self.max_spawns is not None and self._counts.spawns >= self.max_spawns

    @property
    def spawns_remaining(self) -> int | None:
        """Variants that may still be spawned; None = no limit."""
        return None if self.max_spawns is None else max(self.max_spawns - self._counts.spawns, 0)

    @property
    def ranked_snapshots(self) -> list[PolicySnapshot]:
        """All snapshots with a score, best first."""
        return self.registry.ranked_snapshots

    # --- telling ---

    def status(self) -> dict[str, Any]:
        """Return where evolution stands, as plain values; `MetaController.decide` reads it."""
        best = self.registry.best
        return {
            "ensemble_size": self.ensemble_size,
            "agents": [
                {"index": i, "weight": m.weight, "mean_score": m.mean_score} for i, m in enumerate(self._members)
            ],
            "best_score": best.eval_metrics.primary_score if best else math.nan,
            "spawns_used": self._counts.spawns,
            "max_spawns": self.max_spawns,
            "spawns_remaining": self.spawns_remaining,
            "budget_exhausted": self.budget_exhausted,
            "failed_spawns": self.failed_spawns,
            "pruned": self._counts.pruned,
            "regime": self._regime,
        }

    def training_report(self) -> dict[str, Json]:
        """Return what evolution came to, as plain JSON values: `status()`, the best scores, and the lineage."""
        self.retest_lineage()
        best = self.registry.best
        metrics = best.eval_metrics if best else EvalMetrics(math.nan)
        report = {
            **self.status(),
            "val_score": metrics.metrics.get("val_score", math.nan),
            "generalization_gap": metrics.generalization_gap,
            "lineage": [lineage.to_dict() for lineage in self._counts.lineages],
        }
        return jsonable(report)
