"""The contract of an agent: six methods, and optional ones with working defaults."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import numpy as np

from tensor_optix.core.capabilities import (
    ActionLogProbabilities,
    ActionProbabilities,
    ActsInRange,
    ActsMasked,
    ActsRecurrently,
    ActsThroughMembers,
    AgentForms,
    BeginsEpisodes,
    ChecksSpaces,
    GivesFlatActions,
    HasLearner,
    LearnsOffPolicy,
    ReportsEffectiveHyperparams,
    ReportsNonFinite,
    RestartsOptimizer,
    Restorable,
    SavesNormalization,
    Seedable,
    TakesFlatObservations,
    TakesObservationSpace,
    action_range_of,
    gives_flat,
    takes_flat,
)
from tensor_optix.core.search_space import Param
from tensor_optix.core.types import Action, Diagnostics, EpisodeData, HyperparamSet, Observation, Space
from tensor_optix.support.signatures import defaulting, ignores, ignoring, needs, takes
from tensor_optix.support.trees import is_tree, rows, stacked, without_gradients

__all__ = [
    "ActionLogProbabilities",
    "ActionProbabilities",
    "ActsInRange",
    "ActsMasked",
    "ActsRecurrently",
    "ActsThroughMembers",
    "AgentForms",
    "BaseAgent",
    "BeginsEpisodes",
    "ChecksSpaces",
    "GivesFlatActions",
    "GreedyAgent",
    "HasLearner",
    "LearnsOffPolicy",
    "ReportsEffectiveHyperparams",
    "ReportsNonFinite",
    "RestartsOptimizer",
    "Restorable",
    "SavesNormalization",
    "Seedable",
    "TakesFlatObservations",
    "TakesObservationSpace",
    "action_range_of",
    "can_be_greedy",
    "gives_flat",
    "takes_flat",
    "takes_masks",
]

_PASSED = (
    ("act_batch", "deterministic"),
    ("act_masked", "deterministic"),
    ("act_recurrent", "deterministic"),
    ("act_recurrent", "action_masks"),
)
"""Methods, and what is passed to them by name though an agent may have no use for it."""


class BaseAgent(ABC):
    """Anything that acts and learns from sequential data.

    The loop calls the six abstract methods and nothing else is assumed. The others have defaults that make an agent
    which ignores them a full citizen. One that remembers what it has seen in an episode says so: `ActsRecurrently` or
    `BeginsEpisodes`.

    Nothing is changed on its way: `act` gets each observation as the environment returned it, and the environment gets
    each action as `act` returned it. An agent that wants it otherwise declares it: `TakesFlatObservations`,
    `ActsInRange`.

    Validation is greedy where `act` or `act_batch` takes `deterministic`, a keyword argument; else it explores as
    training does.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for method, keyword in _PASSED:
            own = cls.__dict__.get(method)
            if inspect.isfunction(own) and not takes(own, keyword):
                setattr(cls, method, ignoring(own, keyword))
        own = cls.__dict__.get("act")
        if inspect.isfunction(own) and needs(own, "deterministic"):
            cls.act = defaulting(own, "deterministic", False)  # type: ignore[method-assign]

    @abstractmethod
    def act(self, observation: Observation) -> Action:
        """Return the action for one observation. It must have no effect on learning.

        Where it also takes `deterministic: bool = False`, True asks for the greedy action. Where that has no
        default it is False.
        """

    @abstractmethod
    def learn(self, episode_data: EpisodeData) -> Diagnostics:
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

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> Action:
        """Return one action per row of `observations` (B, ...), greedy ones where `deterministic`.

        Observations that are dicts or tuples come stacked: a dict or tuple of arrays (B, ...). So may actions, or as a
        list of B. The default asks `act` row by row, which can be greedy where it takes `deterministic`.
        """
        act: Callable[..., Any] = self.act
        if deterministic and takes(act, "deterministic"):
            act = functools.partial(act, deterministic=True)
        actions = [without_gradients(act(observation)) for observation in rows(observations)]
        try:
            return actions if any(map(is_tree, actions)) else np.stack([np.asarray(action) for action in actions])
        except ValueError:  # of several shapes
            return actions

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


class GreedyAgent(BaseAgent):
    """Another agent, seen through its greedy actions: what validation acts with. It does not learn.

    Args:
        agent: whose greedy actions they are.
    """

    def __init__(self, agent: BaseAgent) -> None:
        self.agent = agent

    def act(self, observation: Observation, *, deterministic: bool = True) -> Action:
        """Return the greedy action for one observation."""
        return rows(self.agent.act_batch(stacked([observation]), deterministic=True))[0]

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> Action:
        """Return the greedy action per row."""
        return self.agent.act_batch(observations, deterministic=True)

    def act_masked(self, observations: Observation, action_masks: np.ndarray, *, deterministic: bool = False) -> Action:
        """Return the greedy allowed action per row; see `takes_masks`."""
        if takes_masks(self.agent):
            return self.agent.act_masked(observations, action_masks, deterministic=True)
        return self.act_batch(observations)

    def learn(self, episode_data: EpisodeData) -> Diagnostics:
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

    @property
    def action_range(self) -> tuple[float, float] | None:
        """The agent's."""
        return action_range_of(self.agent)

    @property
    def gives_flat_actions(self) -> bool:
        """The agent's."""
        return gives_flat(self.agent)

    @property
    def takes_flat_observations(self) -> bool:
        """The agent's."""
        return takes_flat(self.agent)

    def act_through(self, forms: AgentForms) -> None:
        """Let the agent know how its members see and act, where it has some."""
        if isinstance(self.agent, ActsThroughMembers):
            self.agent.act_through(forms)

    def take_observation_space(self, observation_space: Space) -> None:
        """Let the agent know the space, where it has use for it."""
        if isinstance(self.agent, TakesObservationSpace):
            self.agent.take_observation_space(observation_space)

    def check_spaces(self, observation_space: Space, action_space: Space) -> None:
        """Ask the agent whether it fits, where it can tell."""
        if isinstance(self.agent, ChecksSpaces):
            self.agent.check_spaces(observation_space, action_space)


def takes_masks(agent: BaseAgent) -> TypeGuard[ActsMasked]:
    """Return whether an agent, or the one that it shows, keeps to action masks."""
    return isinstance(agent.agent if isinstance(agent, GreedyAgent) else agent, ActsMasked)


def can_be_greedy(agent: BaseAgent) -> bool:
    """Return whether an agent has a greedy policy: a method of its own that lets it act takes `deterministic`."""
    if isinstance(agent, ActsRecurrently):
        return not ignores(agent.act_recurrent, "deterministic")
    asked: BaseAgent = agent  # of a guarded name all else is forgotten
    if takes_masks(asked) and not ignores(asked.act_masked, "deterministic"):
        return True
    has_batch = type(agent).act_batch is not BaseAgent.act_batch
    return not ignores(agent.act_batch, "deterministic") if has_batch else takes(agent.act, "deterministic")
