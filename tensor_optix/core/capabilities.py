"""What an agent may declare beside its six methods; whatever it does not declare is not assumed."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from tensor_optix.errors import ContractError
from tensor_optix.support.arguments import is_real

if TYPE_CHECKING:
    from tensor_optix.core.types import Action, EpisodeData, Memory, Observation, Space


@runtime_checkable
class ActsInRange(Protocol):
    """An agent whose actions are numbers in a range of its own, such as [-1, 1], whatever the environment's units are.

    Pipelines map them onto a `Box` with finite bounds. Actions of any other agent pass as they are.
    """

    @property
    def action_range(self) -> tuple[float, float] | None:
        """(low, high) of each number; None where its actions are in the environment's units, or no numbers."""


@runtime_checkable
class TakesFlatObservations(Protocol):
    """An agent that wants every observation as one array, which a model can take.

    Observations of `Dict`, `Tuple`, `Discrete`, `MultiDiscrete` and `MultiBinary` spaces then reach it as vectors of
    float32, discrete values one-hot. Any other agent gets them as the environment returns them.
    """

    @property
    def takes_flat_observations(self) -> bool:
        """True to get them flat."""
        ...


@runtime_checkable
class GivesFlatActions(Protocol):
    """An agent that answers as a model does: choices counted from 0, and numbers as one vector.

    Pipelines add the `start` of `Discrete` and `MultiDiscrete` spaces, and give the shape of `Box`, `MultiDiscrete` and
    `MultiBinary` spaces that have another number of axes than one. Actions of any other agent pass as they are.
    """

    @property
    def gives_flat_actions(self) -> bool:
        """True where its actions have this form."""
        ...


@runtime_checkable
class ChecksSpaces(Protocol):
    """An agent that can tell, before any training, whether it fits an environment."""

    def check_spaces(self, observation_space: Space, action_space: Space) -> None:
        """Raise a typed error that names both sides if the agent's model does not fit the Gymnasium spaces."""


@runtime_checkable
class TakesObservationSpace(Protocol):
    """An agent that has use for the space of observations as the environment returns them."""

    def take_observation_space(self, observation_space: Space) -> None:
        """Take the Gymnasium space; called where the agent is wired to an environment."""


@runtime_checkable
class ActsMasked(Protocol):
    """An agent that can keep to the actions that an environment allows."""

    def act_masked(self, observations: Observation, action_masks: np.ndarray, *, deterministic: bool = False) -> Action:
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
        self,
        observations: Observation,
        memories: Sequence[Memory],
        *,
        action_masks: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Action, Sequence[Memory]]:
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


@runtime_checkable
class ReportsEffectiveHyperparams(Protocol):
    """An agent that can tell which values its optimizer or loss really works with, whatever was asked for."""

    def effective_hyperparams(self) -> Mapping[str, float]:
        """Return the values in force where they are used, by the names of hyper-parameters; not all need be there."""
        ...


@runtime_checkable
class ActionProbabilities(Protocol):
    """An agent with discrete actions that can say how likely each of them is."""

    def action_probs(self, observations: Observation, action_masks: np.ndarray | None = None) -> np.ndarray | None:
        """Return (B, n) the probability of each action per row of `observations` (B, ...).

        None where its actions are not one choice out of n (numbers, or several choices at once). Where `action_masks`
        (B, n) bool are given, what they forbid has probability 0.
        """
        ...


@runtime_checkable
class ActionLogProbabilities(Protocol):
    """An agent that can say how likely an action would have been for itself, whoever chose it."""

    def action_log_probs(
        self, observations: Observation, actions: Action, action_masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Return (B,) log π(a|s), a log density where actions are numbers, given `action_masks` (B, P) where there are.

        Args:
            observations: (B, ...).
            actions: (B, ...), as they were executed.
            action_masks: (B, P) bool, what was allowed.
        """
        ...


@runtime_checkable
class SavesNormalization(Protocol):
    """An agent that saves the statistics of normalised observations with its weights: one is worth nothing alone."""

    def set_observation_normalizer(self, normalizer: Any) -> None:
        """Take the `ObsNormalizer` through which the agent sees observations; called where it is wired or saved."""


@runtime_checkable
class WindowLogProbabilities(Protocol):
    """As `ActionLogProbabilities`, for an agent whose policy depends on what it remembers of the episode."""

    def window_log_probs(self, window: EpisodeData) -> np.ndarray:
        """Return (T,) log π(a|s) of the actions of a window, whose `memories` are the agent's own."""
        ...


@runtime_checkable
class LearnsOffPolicy(Protocol):
    """An agent that can tell whether its `learn` is right whoever chose the actions, as with a replay memory it is."""

    @property
    def learns_off_policy(self) -> bool:
        """True if it asks for no probabilities of the actions that it learns from."""
        ...


class AgentForms(Protocol):
    """What knows an environment's spaces, and the form in which each agent declares that it sees and acts."""

    observation_space: Space  # None where it is not known

    def shown(self, agent: Any, observations: Observation) -> Observation:
        """Return observations (B, ...), as the environment returns them, in the form that `agent` declares."""
        ...

    def executed(self, agent: Any, actions: Action) -> Action:
        """Return actions (B, ...) of `agent` in the environment's units."""
        ...

    def chosen(self, agent: Any, actions: Action) -> Action:
        """Return actions (B, ...) in the environment's units as `agent` would answer them."""
        ...


@runtime_checkable
class ActsThroughMembers(Protocol):
    """An agent that asks other agents, which may declare other forms than it does."""

    def act_through(self, forms: AgentForms) -> None:
        """Take what translates between its form and that of each; called when it is wired to an environment."""


@runtime_checkable
class HasLearner(Protocol):
    """An agent that acts with the help of others, one of which is the learner."""

    def set_learner(self, agent: Any) -> None:
        """Put another agent in the learner's place."""


def action_range_of(agent: object) -> tuple[float, float] | None:
    """Return the range in which an agent declares that it acts; None = its actions are in the environment's units.

    Raises:
        ContractError: what it declares is no range.
    """
    declared = agent.action_range if isinstance(agent, ActsInRange) else None
    if declared is None:
        return None
    is_pair = isinstance(declared, tuple | list) and len(declared) == 2 and all(map(is_real, declared))
    if not is_pair or not declared[0] < declared[1]:
        raise ContractError(
            f"{type(agent).__name__}.action_range must be (low, high), two finite numbers with low < high, or None for "
            f"actions in the environment's units, but is {declared!r}."
        )
    return float(declared[0]), float(declared[1])


def takes_flat(agent: object) -> bool:
    """Return whether an agent wants observations flat; raises `ContractError` where it says neither True nor False."""
    return _flag(agent, "takes_flat_observations")


def gives_flat(agent: object) -> bool:
    """Return whether an agent's actions are flat; raises `ContractError` where it says neither True nor False."""
    return _flag(agent, "gives_flat_actions")


def _flag(agent: object, name: str) -> bool:
    declared = getattr(agent, name, False)
    if not isinstance(declared, bool):
        raise ContractError(f"{type(agent).__name__}.{name} must be True or False, but is {declared!r}.")
    return declared
