"""Several agents that act as one, and learn from what they did together."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.agent_memory import hands_out_memory, with_memories_of
from tensor_optix.core.base_agent import (
    ActionLogProbabilities,
    AgentForms,
    BaseAgent,
    ChecksSpaces,
    LearnsOffPolicy,
    SavesNormalization,
    Seedable,
)
from tensor_optix.core.capabilities import WindowLogProbabilities
from tensor_optix.core.evolution.action_mixing import act_together, act_together_remembering, mixed_probabilities
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.storage import atomic
from tensor_optix.core.types import Action, Diagnostics, EpisodeData, HyperparamSet, Memory, Observation, numeric_items
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError, ContractError
from tensor_optix.support.arguments import check_seed
from tensor_optix.support.arrays import generator_state, restore_generator
from tensor_optix.support.trees import as_arrays, is_tree, rows, stacked

logger = logging.getLogger(__name__)

_LEAST_PROBABILITY = 1e-12
_MEMBERS = "_members.json"
"""Appended to a path: who the members are, and what they weigh."""


class EnsembleAgent(BaseAgent):
    """The members of a `PolicyManager` behind the six methods of one agent; see `act_together` for how they agree.

    All members that tell their action probabilities learn from each window. It was collected by the mixture and not by
    any of them, so it carries the mixture's log-probabilities, log Σ wᵢ·πᵢ(a|s)/Σ wᵢ, and each corrects for them.

    Where a member does not tell them (averaged numbers, votes), only the primary agent learns, from what was executed.
    An off-policy agent (`LearnsOffPolicy`: SAC, DQN) asks for no more. Another one gets the log-probability of the
    executed action under itself (`ActionLogProbabilities`: PPO), so that its importance ratios begin at 1, where its
    clipping expects them: to the density of the average, narrower by √K per dimension for K alike members, they would
    not. For an agent that can do neither, a warning says so once. Hyper-parameters are the primary agent's.

    Args:
        pm: who the members are, and their weights.
        primary_agent: the member whose hyper-parameters are tuned.
        seed: where drawn actions come from; None takes one from the system.

    Raises:
        EvolutionError: there are no members.
        ContractError: `primary_agent` is none of them, or `pm` is no `PolicyManager`.
        InvalidArgumentError: a negative seed.
    """

    def __init__(self, pm: PolicyManager, primary_agent: BaseAgent, *, seed: int | None = None) -> None:
        if not isinstance(pm, PolicyManager):
            raise ContractError(f"pm must be a PolicyManager, but got {type(pm).__name__}.")
        pm.check_not_empty()
        pm.index_of(primary_agent)
        check_seed(seed)
        self._pm = pm
        self._primary = primary_agent
        self._has_warned = False
        self._rng = np.random.default_rng(seed)

    @property
    def primary_agent(self) -> BaseAgent:
        """The member whose hyper-parameters are tuned; when it has left, the heaviest takes its place.

        Raises:
            EvolutionError: there are no members any more.
        """
        agents = self._pm.agents
        if all(agent is not self._primary for agent in agents):
            self._pm.check_not_empty()
            self._primary = max(zip(self._pm.weights, agents, strict=True), key=lambda pair: pair[0])[1]
        return self._primary

    def set_learner(self, agent: BaseAgent) -> None:
        """Make another member the primary one."""
        self._pm.index_of(agent)
        self._primary = agent

    def seed(self, seed: int) -> None:
        """Restart the generator, and those of the members that have one."""
        own, *others = np.random.SeedSequence(seed).spawn(1 + self._pm.ensemble_size)
        self._rng = np.random.default_rng(own)
        for agent, child in zip(self._pm.agents, others, strict=True):
            if isinstance(agent, Seedable):
                agent.seed(int(child.generate_state(1)[0]))

    @property
    def acting_agents(self) -> tuple[BaseAgent, ...]:
        """The members."""
        return self._pm.agents

    def act(self, observation: Observation, *, deterministic: bool = False) -> Action:
        """Return the action that the members agree on."""
        action = rows(self.act_batch(stacked([observation]), deterministic=deterministic))[0]
        return action.item() if not is_tree(action) and np.ndim(action) == 0 else action

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> Action:
        """Return one action per row of `observations` (B, ...)."""
        return self._act(observations, deterministic)

    def act_masked(self, observations: object, action_masks: object, *, deterministic: bool = False) -> Action:
        """Return one allowed action per row, given `action_masks` (B, n) bool; a vote needs members that know masks."""
        return self._act(observations, deterministic, np.asarray(action_masks, bool))

    def _act(self, observations: Observation, deterministic: bool, action_masks: np.ndarray | None = None) -> Action:
        self._pm.check_not_empty()
        how: dict[str, Any] = {"deterministic": deterministic, "action_masks": action_masks, "forms": self._pm.forms}
        return act_together(self._pm.agents, self._pm.weights, as_arrays(observations), self._rng, **how)

    def act_recurrent(
        self, observations: object, memories: Sequence[Memory], *, action_masks: Any = None, deterministic: bool = False
    ) -> tuple[Action, list[Memory]]:
        """Return one action per row and what each member remembers after it; see `ActsRecurrently`."""
        self._pm.check_not_empty()
        how: dict[str, Any] = {"deterministic": deterministic, "action_masks": action_masks, "forms": self._pm.forms}
        return act_together_remembering(self._pm.agents, self._pm.weights, observations, memories, **how)

    @property
    def takes_flat_observations(self) -> bool:
        """True if all members want observations flat; of others, each gets them as it declares."""
        return self._pm.forms.takes_flat_observations

    @property
    def action_range(self) -> tuple[float, float] | None:
        """The range that all members act in; None where they differ: each is then mapped onto the environment's."""
        return self._pm.forms.action_range

    @property
    def gives_flat_actions(self) -> bool:
        """True if the actions of all members are flat; of others, each's get the environment's form."""
        return self._pm.forms.gives_flat_actions

    def act_through(self, forms: AgentForms) -> None:
        """Take what tells how each member sees and acts."""
        self._pm.forms.act_through(forms)

    def learn(self, episode_data: EpisodeData) -> Diagnostics:
        """Let the members learn from one window; those of others than the primary agent are named `agent<i>_...`."""
        primary = self.primary_agent
        mixture, forms = None, self._pm.forms
        if not hands_out_memory(self):  # else the members' probabilities are those of each step by itself
            seen = as_arrays(episode_data.observations)
            mixture = mixed_probabilities(self._pm.agents, self._pm.weights, seen, episode_data.action_masks, forms)
        if mixture is None:
            return primary.learn(self._as_seen_by(primary, forms.window(primary, episode_data)))
        if episode_data.log_probs is None:
            chosen = np.asarray(forms.counted(episode_data.actions), np.int64).reshape(-1, 1)
            probs = np.take_along_axis(mixture, chosen, axis=-1)[:, 0]
            log_probs = np.log(np.maximum(probs, _LEAST_PROBABILITY)).astype(np.float32)
            episode_data = dataclasses.replace(episode_data, log_probs=log_probs)
        diagnostics: dict[str, object] = {}
        for index, agent in enumerate(self._pm.agents):
            found = agent.learn(forms.window(agent, episode_data))
            if agent is primary:
                diagnostics |= found
            else:
                diagnostics |= {f"agent{index}_{name}": value for name, value in numeric_items(found)}
        return diagnostics

    def _as_seen_by(self, learner: BaseAgent, window: EpisodeData) -> EpisodeData:
        """Return the window with the log-probabilities that its actions, which all members chose, have for one."""
        window = with_memories_of(self._pm.index_of(learner), window)
        if self._pm.ensemble_size == 1 or window.log_probs is not None:
            return window
        if isinstance(learner, LearnsOffPolicy) and learner.learns_off_policy:
            return window
        if isinstance(learner, WindowLogProbabilities):
            return dataclasses.replace(window, log_probs=np.asarray(learner.window_log_probs(window), np.float32))
        if isinstance(learner, ActionLogProbabilities):
            log_probs = learner.action_log_probs(window.observations, window.actions, window.action_masks)
            return dataclasses.replace(window, log_probs=np.asarray(log_probs, np.float32))
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s learns from actions that all members of the ensemble chose, and cannot tell how likely they were "
                "for itself, so it takes them for its own. That is sound only if it learns off-policy: then give it "
                "learns_off_policy = True. Else give it action_log_probs, or train each member by itself.",
                type(learner).__name__,
            )
        return window

    def get_hyperparams(self) -> HyperparamSet:
        """Return the primary agent's."""
        return self.primary_agent.get_hyperparams()

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put hyper-parameters in force in the primary agent."""
        self.primary_agent.set_hyperparams(hp)

    @property
    def default_param_bounds(self) -> Any:
        """The primary agent's."""
        return self.primary_agent.default_param_bounds

    def set_observation_normalizer(self, normalizer: object) -> None:
        """Let each member save the statistics of normalised observations with its weights, where it can."""
        for agent in (one for one in self._pm.agents if isinstance(one, SavesNormalization)):
            agent.set_observation_normalizer(normalizer)

    def save_weights(self, path: str) -> None:
        """Write the primary agent's weights to `path`, so that it alone can read them, and the others' beside them.

        The members' names and mixture weights go with them: the policy is the mixture.
        """
        files = self._files(path)
        for name, agent in self._pm.members_by_name.items():
            agent.save_weights(files[name])
        atomic.write_file(Path(path + _MEMBERS), atomic.encode_json(self._mixture()), sync=False)

    def load_weights(self, path: str) -> None:
        """Read what `save_weights(path)` wrote: each member its own, and the mixture weights.

        A member that had not joined by then keeps its weights and weighs nothing, since it was no part of that policy;
        where one that was has left, the policy cannot be had again, and a warning says so. Weights that a single agent
        wrote go to the primary agent.
        """
        listed = Path(path + _MEMBERS)
        if not listed.exists():
            self.primary_agent.load_weights(path)
            return
        saved = _saved_mixture(listed)
        members = self._pm.members_by_name
        if left := sorted(saved["weights"].keys() - members.keys()):
            logger.warning(
                "The weights at %r are those of an ensemble of %d; %d of its members are in this one no more. What "
                "is left of it acts otherwise than it was scored.",
                path,
                len(saved["weights"]),
                len(left),
            )
        for name, agent in members.items():
            if name in saved["weights"]:
                agent.load_weights(_file(path, name, saved["primary"]))
        self._pm.set_mixture(saved["weights"])

    def save_training_state(self, path: str) -> None:
        """Write the training state of the primary agent to `path`, the others' and the generator beside it."""
        files = self._files(path)
        for name, agent in self._pm.members_by_name.items():
            agent.save_training_state(files[name])
        state = {**self._mixture(), "generator": generator_state(self._rng)}
        atomic.write_file(Path(path + _MEMBERS), atomic.encode_json(state))

    def load_training_state(self, path: str) -> None:
        """Read what `save_training_state(path)` wrote.

        Raises:
            CheckpointMismatchError: the members are not those that it was written with.
        """
        saved = _saved_mixture(Path(path + _MEMBERS))
        members = self._pm.members_by_name
        if members.keys() != saved["weights"].keys():
            raise CheckpointMismatchError(
                f"The training state at {path!r} is that of the members {sorted(saved['weights'])}, but this ensemble "
                f"has {sorted(members)}. Add the members that it was written with, in the same order."
            )
        for name, agent in members.items():
            agent.load_training_state(_file(path, name, saved["primary"]))
        self._pm.set_mixture(saved["weights"])
        restore_generator(self._rng, saved["generator"])

    def _mixture(self) -> dict[str, Any]:
        names = self._pm.members_by_name
        primary = next(name for name, agent in names.items() if agent is self.primary_agent)
        return {"primary": primary, "weights": dict(zip(names, self._pm.weights, strict=True))}

    def _files(self, path: str) -> dict[str, str]:
        primary = self._mixture()["primary"]
        return {name: _file(path, name, primary) for name in self._pm.members_by_name}

    def check_spaces(self, observation_space: object, action_space: object) -> None:
        """Ask each member whether it fits, where it can tell."""
        for agent in self._pm.agents:
            if isinstance(agent, ChecksSpaces):
                agent.check_spaces(observation_space, action_space)


def _file(path: str, name: str, primary: str) -> str:
    return path if name == primary else f"{path}_member{name}"


def _saved_mixture(path: Path) -> Mapping[str, Any]:
    saved = atomic.read_json(path)
    if not (isinstance(saved.get("primary"), str) and isinstance(saved.get("weights"), dict)):
        raise CheckpointCorruptError(f"{str(path)!r} does not name the members of an ensemble and their weights.")
    return saved
