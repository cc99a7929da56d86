"""The contract of an agent: six methods, and optional ones with working defaults."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from tensor_optix.core.search_space import Param
from tensor_optix.core.types import EpisodeData, HyperparamSet


class BaseAgent(ABC):
    """Anything that acts and learns from sequential data.

    The loop calls the six abstract methods and nothing else is assumed. The others have defaults that make an agent
    which ignores them a full citizen. One that remembers what it has seen in an episode says so: `ActsRecurrently` or
    `BeginsEpisodes`.
    """

    @abstractmethod
    def act(self, observation: Any) -> Any:
        """Return the action for one observation. It must have no effect on learning."""

    @abstractmethod
    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Learn from one window and return diagnostics by name."""

    @abstractmethod
    def get_hyperparams(self) -> HyperparamSet:
        """Return the hyper-parameters in force."""

    @abstractmethod
    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put new hyper-parameters in force, all at once or not at all."""

    @abstractmethod
    def save_weights(self, path: str) -> None:
        """Write the policy's weights to `path`, which does not exist yet; a suffix may be added, or a folder made."""

    @abstractmethod
    def load_weights(self, path: str) -> None:
        """Read the weights that `save_weights(path)` wrote."""

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        """Return one action per row of `observations` (B, ...).

        The default asks `act` row by row and cannot be greedy, so it ignores `deterministic`.
        """
        return np.stack([np.asarray(self.act(observation)) for observation in observations])

    def save_training_state(self, path: str) -> None:
        """Write all that learning needs to go on as if it had never stopped. The default writes the weights."""
        self.save_weights(path)

    def load_training_state(self, path: str) -> None:
        """Read what `save_training_state(path)` wrote."""
        self.load_weights(path)

    @property
    def default_param_bounds(self) -> Mapping[str, Param | tuple[float, float]]:
        """What may be tuned where the user does not say; nothing by default."""
        return {}


@runtime_checkable
class ChecksSpaces(Protocol):
    """An agent that can tell, before any training, whether it fits an environment."""

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise a typed error that names both sides if the agent's model does not fit the Gymnasium spaces."""


@runtime_checkable
class ActsMasked(Protocol):
    """An agent that can keep to the actions that an environment allows."""

    def act_masked(self, observations: Any, action_masks: Any, *, deterministic: bool = False) -> Any:
        """Return one allowed action per row.

        Args:
            observations: (B, ...).
            action_masks: (B, n) bool, which of the n actions are allowed in each row.
            deterministic: act greedily.
        """
        ...


@runtime_checkable
class ActsRecurrently(Protocol):
    """An agent with a memory that is handed in and out: what it remembers of an episode is a value, not its attribute.

    Whoever lets it act keeps one memory for each episode that is played side by side, so that it acts in any number of
    them, and in training, validation and ensembles at once. A window says in `EpisodeData.memories` what it began with.
    """

    def act_recurrent(
        self, observations: Any, memories: Sequence[Any], *, action_masks: Any = None, deterministic: bool = False
    ) -> tuple[Any, Sequence[Any]]:
        """Return one action per row, and what is to be remembered of each row's episode.

        Args:
            observations: (B, ...), from B different episodes.
            memories: (B,) what the last call in the row's episode returned for it; None where an episode begins. An
                entry may be any value that is not changed afterwards. Numbers, strings, NumPy arrays, and lists,
                tuples and dictionaries of them are saved with a run.
            action_masks: (B, n) bool, which of n actions are allowed in each row; None where everything is.
            deterministic: act greedily, where the agent can.
        """
        ...


@runtime_checkable
class BeginsEpisodes(Protocol):
    """An agent that remembers what it has seen, in an attribute, and is told where an episode begins.

    It acts in one episode at a time. With an attribute `episode_memory` that can be read and set, any value that can be
    copied, it acts in several side by side (`VectorBatchPipeline`): its memory is exchanged before each action.
    """

    def begin_episode(self) -> None:
        """Forget the episode before: the next observation is the first of another one."""


@runtime_checkable
class Seedable(Protocol):
    """An agent whose exploration and minibatch order come from a generator that can be seeded."""

    def seed(self, seed: int) -> None:
        """Restart the agent's random generator."""


@runtime_checkable
class Restorable(Protocol):
    """An agent whose state can be copied and restored in memory."""

    def snapshot(self) -> object:
        """Return a copy of all that learning changes."""
        ...

    def restore(self, state: Any) -> None:
        """Restore the state that `snapshot` returned."""
        ...


@runtime_checkable
class RestartsOptimizer(Protocol):
    """An agent whose optimizer can forget what it has gathered, as another policy's."""

    def restart_optimizer(self) -> None:
        """Give the optimizer the state of a new one; weights, hyper-parameters and whatever is remembered stay."""


@runtime_checkable
class ReportsNonFinite(Protocol):
    """An agent that can tell whether learning has left numbers that are none."""

    def first_non_finite(self) -> str | None:
        """Return the name of a tensor (weight, moment) with a NaN or an infinity, None if there is none."""
        ...


@runtime_checkable
class ReportsEffectiveHyperparams(Protocol):
    """An agent that can tell which values its optimizer or loss really works with."""

    def effective_hyperparams(self) -> Mapping[str, float]:
        """Return the values in force where they are used, by the names of its hyper-parameters; not all need be there.

        `get_hyperparams` says what was asked for; this says what arrived.
        """
        ...


@runtime_checkable
class ActionProbabilities(Protocol):
    """An agent with discrete actions that can say how likely each of them is."""

    def action_probs(self, observations: Any, action_masks: Any = None) -> np.ndarray | None:
        """Return (B, n) the probability of each action per row of `observations` (B, ...).

        None where its actions are not one choice out of n (numbers, or several choices at once). Where `action_masks`
        (B, n) bool are given, what they forbid has probability 0.
        """
        ...


@runtime_checkable
class ActionLogProbabilities(Protocol):
    """An agent that can say how likely an action would have been for itself, whoever chose it."""

    def action_log_probs(self, observations: Any, actions: Any, action_masks: Any = None) -> np.ndarray:
        """Return (B,) log π(a|s), a log density where actions are numbers, given `action_masks` (B, P) where there are.

        Args:
            observations: (B, ...).
            actions: (B, ...), as they were executed.
            action_masks: (B, P) bool, what was allowed.
        """
        ...


@runtime_checkable
class LearnsOffPolicy(Protocol):
    """An agent that can tell whether its `learn` is right whoever chose the actions, as with a replay memory it is."""

    @property
    def learns_off_policy(self) -> bool:
        """True if it asks for no probabilities of the actions that it learns from."""
        ...


@runtime_checkable
class HasLearner(Protocol):
    """An agent that acts with the help of others, one of which is the learner."""

    def set_learner(self, agent: BaseAgent) -> None:
        """Put another agent in the learner's place."""


class GreedyAgent(BaseAgent):
    """Another agent, seen through its greedy actions: what validation acts with. It does not learn.

    Args:
        agent: whose greedy actions they are.
    """

    def __init__(self, agent: BaseAgent) -> None:
        self.agent = agent

    def act(self, observation: Any) -> Any:
        """Return the greedy action for one observation."""
        return self.agent.act_batch(np.asarray(observation)[None], deterministic=True)[0]

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        """Return the greedy action per row."""
        return self.agent.act_batch(observations, deterministic=True)

    def act_masked(self, observations: Any, action_masks: Any, *, deterministic: bool = False) -> Any:
        """Return the greedy allowed action per row; see `takes_masks`."""
        if takes_masks(self.agent):
            return self.agent.act_masked(observations, action_masks, deterministic=True)
        return self.act_batch(observations)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        """Return the agent's."""
        return self.agent.get_hyperparams()

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put hyper-parameters in force in the agent."""
        self.agent.set_hyperparams(hp)

    def save_weights(self, path: str) -> None:
        """Write the agent's weights."""
        self.agent.save_weights(path)

    def load_weights(self, path: str) -> None:
        """Read weights into the agent."""
        self.agent.load_weights(path)

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Ask the agent whether it fits, where it can tell."""
        if isinstance(self.agent, ChecksSpaces):
            self.agent.check_spaces(observation_space, action_space)


def takes_masks(agent: BaseAgent) -> TypeGuard[ActsMasked]:
    """Return whether an agent, or the one that it shows, keeps to action masks."""
    return isinstance(agent.agent if isinstance(agent, GreedyAgent) else agent, ActsMasked)


def can_be_greedy(agent: BaseAgent) -> bool:
    """Return whether an agent has a greedy policy: the default `act_batch` has none."""
    return type(agent).act_batch is not BaseAgent.act_batch or takes_masks(agent)
