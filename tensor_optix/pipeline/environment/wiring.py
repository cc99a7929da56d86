"""What passes between an agent and an environment, each way in the form that the agent declares."""

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from tensor_optix.core.base_agent import (
    ActsThroughMembers,
    BaseAgent,
    TakesObservationSpace,
    action_range_of,
    gives_flat,
    takes_flat,
)
from tensor_optix.core.types import Action, Observation
from tensor_optix.errors import SpaceError
from tensor_optix.pipeline.environment.environment import ActionScaler
from tensor_optix.pipeline.environment.observations import ObservationForm, stacked_as
from tensor_optix.support.trees import copied, is_tree, n_rows, rows


class Wiring:
    """Connects agents, one at a time, to environments of one kind.

    Args:
        observation_space: of one observation; None where it is not known.
        action_space: of one action; None where it is not known.

    Attributes:
        sees_all_as_it_is: whether the connected agent sees observations as they come.
        form: in which the connected agent sees observations.
        to_env: hands its actions to the environment.
    """

    def __init__(
        self, observation_space: spaces.Space[object] | None, action_space: spaces.Space[object] | None
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.sees_all_as_it_is = True
        self._action_form: tuple[tuple[float, float] | None, bool] = (None, False)
        self._forms: dict[bool, ObservationForm] = {}
        """By whether they are flat: a flat space takes a millisecond to make."""
        self.form = self._form(is_flat=False)
        self.to_env = ActionScaler(action_space)

    def connect(self, agent: BaseAgent) -> bool:
        """Take over what an agent declares; return whether it sees observations in another form than before.

        Raises:
            ContractError: what it declares is malformed.
            SpaceError: it wants observations flat that cannot be, or its model takes other members than they have.
        """
        if isinstance(agent, ActsThroughMembers):
            agent.act_through(self)
        if self.observation_space is not None and isinstance(agent, TakesObservationSpace):
            agent.take_observation_space(self.observation_space)
        declared = (action_range_of(agent), gives_flat(agent))
        if declared != self._action_form:
            self._action_form = declared
            self.to_env = ActionScaler(self.action_space, declared[0], is_flat=declared[1])
        is_flat = takes_flat(agent)
        form = self._form(is_flat)
        self.sees_all_as_it_is = not (form.is_flattened or (is_flat and self.observation_space is None))
        is_other = form.is_flattened is not self.form.is_flattened
        if is_other:
            self.form = form
        return is_other

    def _form(self, is_flat: bool) -> ObservationForm:
        if is_flat not in self._forms:
            self._forms[is_flat] = ObservationForm(self.observation_space, is_flat=is_flat)
        return self._forms[is_flat]

    def seen(self, observation: Observation) -> Observation:
        """Return an observation of a feed, which has been checked, as the connected agent sees it.

        Raises:
            SpaceError: it has to be flattened, and the feed does not say of which space it is.
        """
        if self.sees_all_as_it_is:
            return observation
        if self.form.is_flattened:
            return self.form.one(observation)
        if is_tree(observation):
            raise SpaceError(
                f"The agent takes flat observations, but the feed gives a {type(observation).__name__} of an unknown "
                f"space. Give the source an observation_space."
            )
        return observation if isinstance(observation, np.ndarray) else np.asarray(observation, np.float64)

    # --- what a window is made of ---

    def stacked_observations(self, observations: Sequence[Observation]) -> Observation:
        """Return observations, as the connected agent sees them, as arrays with one row each."""
        return self.form.stacked(observations)

    def listed_actions(self, actions: Action) -> list[Action]:
        """Return what `act_batch` returned as a list of actions."""
        is_rows = type(actions) is tuple and not isinstance(self.action_space, spaces.Tuple)
        return list(actions) if is_rows else rows(actions)

    def chosen_and_taken(self, actions: Action) -> tuple[list[Action], list[Action]]:
        """Return what `act_batch` returned as a list, and the same as environments take them, which may change those.

        Raises:
            BadDataError: one is not finite.
        """
        chosen = self.listed_actions(copied(actions))
        if isinstance(actions, np.ndarray):
            return chosen, list(self.to_env(actions))
        return chosen, [self.to_env(action) for action in self.listed_actions(actions)]

    def stacked_actions(self, actions: Sequence[Action]) -> Action:
        """Return a list of actions as arrays with one row each."""
        return stacked_as(self.action_space, actions)

    # --- for an agent that acts through others ---

    def shown(self, agent: BaseAgent, observations: Observation) -> Observation:
        """Return stacked observations (B, ...), as the environment returns them, in the form that `agent` declares."""
        form = self._form(takes_flat(agent))
        return form.batch(observations, n_rows(observations)) if form.is_flattened else observations

    def executed(self, agent: BaseAgent, actions: Action) -> Action:
        """Return actions (B, ...) of `agent` in the environment's units, as floats where it takes floats."""
        scaler = self._scaler(agent)
        if scaler is not None:
            return scaler(np.asarray(actions))
        space = self.action_space
        if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating) and _is_whole(actions):
            return np.asarray(actions, space.dtype)
        return actions

    def chosen(self, agent: BaseAgent, actions: Action) -> Action:
        """Return actions (B, ...) in the environment's units as `agent` would have to answer them."""
        scaler = self._scaler(agent)
        return actions if scaler is None else scaler.inverse(np.asarray(actions))

    def _scaler(self, agent: BaseAgent) -> ActionScaler | None:
        """Return what hands an agent's actions on; None where they are in the environment's units."""
        declared, is_flat = action_range_of(agent), gives_flat(agent)
        if declared is None and not is_flat:
            return None
        if declared is not None and self.action_space is None:
            raise SpaceError(
                "Agents that act in a range of their own act together with one in the environment's units, so the "
                "action space must be known. Give the source an action_space."
            )
        return ActionScaler(self.action_space, declared, is_flat=is_flat)


def _is_whole(actions: Action) -> bool:
    return not is_tree(actions) and np.asarray(actions).dtype.kind in "iu"
