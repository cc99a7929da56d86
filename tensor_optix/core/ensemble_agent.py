"""Several agents that act as one, and learn from what they did together."""

import dataclasses
import glob
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core import _atomic
from tensor_optix.core._arrays import generator_state, restore_generator
from tensor_optix.core.action_mixing import act_together, mixed_probabilities
from tensor_optix.core.base_agent import BaseAgent, ChecksSpaces, Seedable
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.types import EpisodeData, HyperparamSet, numeric_items

_LEAST_PROBABILITY = 1e-12


class EnsembleAgent(BaseAgent):
    """The members of a `PolicyManager` behind the six methods of one agent; see `act_together` for how they agree.

    All members that tell their action probabilities learn from each window. It was lived by the mixture and not by any
    of them, so it carries the mixture's log-probabilities, log Σ wᵢ·πᵢ(a|s)/Σ wᵢ, and each corrects for them. Where a
    member does not tell them, only the primary agent learns. Hyper-parameters are the primary agent's.

    Args:
        pm: who the members are, and their weights.
        primary_agent: the member whose hyper-parameters are tuned.
        seed: where drawn actions come from; None takes one from the system.

    Raises:
        EvolutionError: there are no members.
        ContractError: `primary_agent` is none of them.
    """

    def __init__(self, pm: PolicyManager, primary_agent: BaseAgent, *, seed: int | None = None) -> None:
        pm.check_not_empty()
        pm.index_of(primary_agent)
        self._pm = pm
        self._primary = primary_agent
        self._rng = np.random.default_rng(seed)

    @property
    def primary_agent(self) -> BaseAgent:
        """The member whose hyper-parameters are tuned."""
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

    def act(self, observation: Any) -> Any:
        """Return the action that the members agree on."""
        action = self.act_batch(np.asarray(observation)[None])[0]
        return action.item() if action.ndim == 0 else action

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        """Return one action per row of `observations` (B, ...)."""
        observations = np.asarray(observations)
        return act_together(self._pm.agents, self._pm.weights, observations, self._rng, deterministic=deterministic)

    def act_masked(self, observations: Any, action_masks: Any, *, deterministic: bool = False) -> Any:
        """Return one allowed action per row, given `action_masks` (B, n) bool; a vote needs members that know masks."""
        return act_together(
            self._pm.agents,
            self._pm.weights,
            np.asarray(observations),
            self._rng,
            deterministic=deterministic,
            action_masks=np.asarray(action_masks, bool),
        )

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Let the members learn from one window; those of others than the primary agent are named `agent<i>_...`."""
        mixture = mixed_probabilities(
            self._pm.agents, self._pm.weights, np.asarray(episode_data.observations), episode_data.action_masks
        )
        if mixture is None:
            return self._primary.learn(episode_data)
        if episode_data.log_probs is None:
            chosen = np.asarray(episode_data.actions, np.int64).reshape(-1, 1)
            probs = np.take_along_axis(mixture, chosen, axis=-1)[:, 0]
            log_probs = np.log(np.maximum(probs, _LEAST_PROBABILITY)).astype(np.float32)
            episode_data = dataclasses.replace(episode_data, log_probs=log_probs)
        diagnostics: dict[str, Any] = {}
        for index, agent in enumerate(self._pm.agents):
            found = agent.learn(episode_data)
            if agent is self._primary:
                diagnostics |= found
            else:
                diagnostics |= {f"agent{index}_{name}": value for name, value in numeric_items(found)}
        return diagnostics

    def get_hyperparams(self) -> HyperparamSet:
        """Return the primary agent's."""
        return self._primary.get_hyperparams()

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put hyper-parameters in force in the primary agent."""
        self._primary.set_hyperparams(hp)

    @property
    def default_param_bounds(self) -> Any:
        """The primary agent's."""
        return self._primary.default_param_bounds

    def save_weights(self, path: str) -> None:
        """Write the primary agent's weights to `path`, so that it alone can read them, and the others' beside them."""
        self._primary.save_weights(path)
        for index, agent in enumerate(self._others()):
            agent.save_weights(f"{path}_other{index}")

    def load_weights(self, path: str) -> None:
        """Read what `save_weights(path)` wrote; a member that had not joined by then keeps its weights."""
        self._primary.load_weights(path)
        for index, agent in enumerate(self._others()):
            if glob.glob(f"{glob.escape(path)}_other{index}*"):
                agent.load_weights(f"{path}_other{index}")

    def save_training_state(self, path: str) -> None:
        """Write the training state of the primary agent to `path`, the others' and the generator beside it."""
        self._primary.save_training_state(path)
        for index, agent in enumerate(self._others()):
            agent.save_training_state(f"{path}_other{index}")
        _atomic.write_file(Path(f"{path}_ensemble.json"), _atomic.encode_json(generator_state(self._rng)))

    def load_training_state(self, path: str) -> None:
        """Read what `save_training_state(path)` wrote."""
        saved = _atomic.read_json(Path(f"{path}_ensemble.json"))
        self._primary.load_training_state(path)
        for index, agent in enumerate(self._others()):
            agent.load_training_state(f"{path}_other{index}")
        restore_generator(self._rng, saved)

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Ask each member whether it fits, where it can tell."""
        for agent in self._pm.agents:
            if isinstance(agent, ChecksSpaces):
                agent.check_spaces(observation_space, action_space)

    def _others(self) -> list[BaseAgent]:
        return [agent for agent in self._pm.agents if agent is not self._primary]
