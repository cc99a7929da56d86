"""The forms in which several agents see and act, and the one form in which they do so together."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tensor_optix.core.base_agent import (
    ActsThroughMembers,
    AgentForms,
    BaseAgent,
    TakesObservationSpace,
    action_range_of,
    gives_flat,
    takes_flat,
)
from tensor_optix.core.normalizers import RAW
from tensor_optix.core.types import Action, EpisodeData, Observation
from tensor_optix.errors import ContractError

ActionForm: TypeAlias = tuple[tuple[float, float] | None, bool]
"""(the range in which an agent acts, whether its actions are flat)"""
_AS_THE_ENVIRONMENT: ActionForm = (None, False)


def _action_form_of(agent: BaseAgent) -> ActionForm:
    return action_range_of(agent), gives_flat(agent)


class MemberForms:
    """What the members of an ensemble declare, put together, and each member served as it declares.

    Together they see flat observations if all of them want flat ones, and act in the range that all of them act in.
    Otherwise they see and act as the environment does, and each member is translated for.

    Args:
        agents: returns the members.
    """

    def __init__(self, agents: Callable[[], Sequence[BaseAgent]]) -> None:
        self._agents = agents
        self._forms: AgentForms | None = None

    def act_through(self, forms: AgentForms) -> None:
        """Take what translates; members that have members of their own get it, too."""
        self._forms = forms
        for agent in self._agents():
            if isinstance(agent, TakesObservationSpace) and forms.observation_space is not None:
                agent.take_observation_space(forms.observation_space)
            if isinstance(agent, ActsThroughMembers):
                agent.act_through(forms)

    @property
    def takes_flat_observations(self) -> bool:
        """Whether all members want observations flat."""
        return all(map(takes_flat, self._agents()))

    @property
    def action_range(self) -> tuple[float, float] | None:
        """The range that all members act in; None where there is no such."""
        return self._action_form[0]

    @property
    def gives_flat_actions(self) -> bool:
        """Whether the actions of all members are flat."""
        return self._action_form[1]

    @property
    def _action_form(self) -> ActionForm:
        found = set(map(_action_form_of, self._agents()))
        return found.pop() if len(found) == 1 else (None, False)

    def shown(self, agent: BaseAgent, observations: Observation) -> Observation:
        """Return observations (B, ...), as the members see them together, as one of them does."""
        is_same = self.takes_flat_observations or not takes_flat(agent)
        return observations if is_same else self._translator.shown(agent, observations)

    def executed(self, agent: BaseAgent, actions: Action) -> Action:
        """Return actions (B, ...) of a member as the members act together."""
        is_as_it_is = self._acts_as_all(agent) and (self._forms is None or self._action_form != _AS_THE_ENVIRONMENT)
        return actions if is_as_it_is else self._translator.executed(agent, actions)

    def elected(self, choices: Action) -> Action:
        """Return choices (B,), counted from 0, as the members act together."""
        flat = next(filter(gives_flat, self._agents()), None)
        return choices if flat is None else self.executed(flat, choices)

    def counted(self, choices: Action) -> Action:
        """Return the choices (B,) that the members have agreed on, counted from 0."""
        flat = next(filter(gives_flat, self._agents()), None)
        return choices if flat is None or self._acts_as_all(flat) else self._translator.chosen(flat, choices)

    def _acts_as_all(self, agent: BaseAgent) -> bool:
        form = _action_form_of(agent)
        # Before a pipeline has told of its spaces, flat actions are taken to have the form of theirs.
        return form in (_AS_THE_ENVIRONMENT, self._action_form) or (form[0] is None and self._forms is None)

    def window(self, agent: BaseAgent, window: EpisodeData) -> EpisodeData:
        """Return a window as a member would have collected it: its observations and actions in the member's form."""
        if not self._acts_as_all(agent):
            window = dataclasses.replace(window, actions=self._translator.chosen(agent, window.actions))
        if self.takes_flat_observations or not takes_flat(agent):
            return window
        raw = window.metadata.get(RAW)
        metadata = window.metadata if raw is None else {**window.metadata, RAW: self._flat(agent, raw)}
        return dataclasses.replace(self._flat(agent, window), metadata=metadata)

    def _flat(self, agent: BaseAgent, holder: Any) -> Any:
        names = ("observations", "next_observations")
        found = {name: getattr(holder, name) for name in names}
        shown = {name: self._translator.shown(agent, value) for name, value in found.items() if value is not None}
        return dataclasses.replace(holder, **shown)

    @property
    def _translator(self) -> AgentForms:
        if self._forms is None:
            declared = [
                f"{type(agent).__name__}: {action_range_of(agent)}, {takes_flat(agent)}" for agent in self._agents()
            ]
            raise ContractError(
                f"The members declare different forms (action_range, takes_flat_observations): {'; '.join(declared)}. "
                f"They can act together once a pipeline has told them of its spaces: hand their EnsembleAgent to one, "
                f"and call setup()."
            )
        return self._forms
