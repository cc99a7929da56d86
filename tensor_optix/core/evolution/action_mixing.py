"""How several agents act as one: mixed probabilities, a weighted vote, or a weighted mean. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.core.agent_memory import act_remembering, is_ours
from tensor_optix.core.base_agent import ActionProbabilities, ActsMasked, BaseAgent
from tensor_optix.core.evolution.member_forms import MemberForms
from tensor_optix.core.types import Action, Memory, Observation
from tensor_optix.errors import NonFiniteError, SpaceError
from tensor_optix.support.trees import as_arrays, copied, is_tree


def act_together(
    agents: Sequence[BaseAgent],
    weights: Sequence[float],
    observations: object,
    rng: np.random.Generator,
    *,
    deterministic: bool = False,
    action_masks: np.ndarray | None = None,
    forms: MemberForms | None = None,
) -> Action:
    """Return (B, ...) one action per row of `observations` (B, ...), allowed by `action_masks` (B, n) where given.

    Discrete actions are names and never averaged: if all agents tell their probabilities, the action is drawn from the
    mixture Σ wᵢ·πᵢ/Σ wᵢ (its most likely one where `deterministic`); otherwise each votes with its weight, and of
    equals the smallest wins. Other actions are averaged, Σ wᵢ·aᵢ/Σ wᵢ. Of dicts and tuples, so is each part. Agents
    that see or act otherwise than the others are translated for by `forms`.

    Raises:
        SpaceError: the agents' actions are not of one kind and shape, or no numbers.
        NonFiniteError: an agent's probabilities are none.
    """
    mixture = mixed_probabilities(agents, weights, observations, action_masks, forms)
    if mixture is not None:
        # All but the last bound: rounding may leave the whole sum a little below 1.
        bounds = np.cumsum(mixture, axis=-1)[:, :-1]
        chosen = mixture.argmax(-1) if deterministic else (rng.random((len(mixture), 1)) >= bounds).sum(axis=-1)
        return chosen if forms is None else forms.elected(chosen)
    acts: list[Action] = []
    for agent in agents:
        actions = _act(agent, _shown(forms, agent, observations), action_masks, deterministic)
        acts.append(actions if forms is None else forms.executed(agent, actions))
    return _agreed(agents, list(map(as_arrays, acts)), _shares(weights))


def act_together_remembering(
    agents: Sequence[BaseAgent],
    weights: Sequence[float],
    observations: object,
    memories: Sequence[Memory],
    *,
    deterministic: bool = False,
    action_masks: np.ndarray | None = None,
    forms: MemberForms | None = None,
) -> tuple[Action, list[Memory]]:
    """Return (B, ...) one action per row, and (B,) what the agents remember after it, a tuple of one memory each.

    Each decides with what it remembers itself. They vote, or are averaged, as in `act_together`: what probabilities an
    agent tells is without its memory.

    Raises:
        SpaceError: the agents' actions are not of one kind and shape, or no numbers.
    """
    acts: list[Action] = []
    after: list[list[Memory]] = []
    for index, agent in enumerate(agents):
        own = [None if memory is None else memory[index] for memory in memories]
        seen = _shown(forms, agent, observations)
        actions, remembered = act_remembering(agent, seen, own, action_masks=action_masks, deterministic=deterministic)
        acts.append(actions if forms is None else forms.executed(agent, actions))
        after.append(remembered)
    return _agreed(agents, list(map(as_arrays, acts)), _shares(weights)), list(zip(*after, strict=True))


def _shown(forms: MemberForms | None, agent: BaseAgent, observations: object) -> Observation:
    seen = observations if forms is None else forms.shown(agent, observations)
    return seen if is_ours(agent) else copied(seen)  # it may change its own


def _agreed(agents: Sequence[BaseAgent], acts: Sequence[Action], shares: np.ndarray) -> Action:
    """Return the elected or mean actions of all, each part of dicts and tuples by itself."""
    first = acts[0]
    if not any(map(is_tree, acts)):
        return _joined(agents, acts, shares)
    if any(type(one) is not type(first) or len(one) != len(first) for one in acts):
        raise SpaceError("The agents of an ensemble must share one action space, but their actions have other parts.")
    names: Sequence[Any] = [*first] if isinstance(first, Mapping) else range(len(first))
    parts = [_agreed(agents, [one[name] for one in acts], shares) for name in names]
    return dict(zip(names, parts, strict=True)) if isinstance(first, Mapping) else tuple(parts)


def _joined(agents: Sequence[BaseAgent], acts: Sequence[np.ndarray], shares: np.ndarray) -> np.ndarray:
    """Return the elected or mean actions of one array's space."""
    for agent, act in zip(agents, acts, strict=True):
        if act.dtype.kind not in "biuf":
            raise SpaceError(
                f"The agents of an ensemble must answer with numbers, but {type(agent).__name__} answered {act[0]!r}. "
                f"Number its choices."
            )
    whole = [act.dtype.kind != "f" for act in acts]
    if len({act.shape for act in acts}) > 1 or len(set(whole)) > 1:
        raise SpaceError(
            f"The agents of an ensemble must share one action space, but they answered with "
            f"{_kinds(agents, [f'{act.dtype.name} {act.shape[1:]}' for act in acts])}. Leave out those that do not fit."
        )
    if whole[0]:
        return _vote(np.stack(acts), shares)
    return np.tensordot(shares, np.stack(acts).astype(np.float64), axes=1).astype(acts[0].dtype)


def mixed_probabilities(
    agents: Sequence[BaseAgent],
    weights: Sequence[float],
    observations: object,
    action_masks: np.ndarray | None = None,
    forms: MemberForms | None = None,
) -> np.ndarray | None:
    """Return (B, n) the mixture Σ wᵢ·πᵢ/Σ wᵢ, None unless all agents tell their probabilities.

    Raises:
        SpaceError: they do not choose among the same number of actions.
        NonFiniteError: an agent's probabilities are none.
    """
    masks = () if action_masks is None else (action_masks,)
    each = [
        agent.action_probs(_shown(forms, agent, observations), *masks)
        if isinstance(agent, ActionProbabilities)
        else None
        for agent in agents
    ]
    told = [np.asarray(probs, np.float64) for probs in each if probs is not None]
    if len(told) < len(agents):
        return None
    if len({probs.shape for probs in told}) > 1:
        raise SpaceError(
            f"The agents of an ensemble must share one action space, but they choose among "
            f"{_kinds(agents, [f'{probs.shape[-1]} actions' for probs in told])}. Leave out those that do not fit."
        )
    for agent, probs in zip(agents, told, strict=True):
        if not np.isfinite(probs).all():
            raise NonFiniteError(
                f"{type(agent).__name__} gave action probabilities that are not finite: its weights or its "
                f"observations are not. Give it a good snapshot, or leave it out."
            )
    mixture = np.tensordot(_shares(weights), np.stack(told), axes=1)
    return mixture / mixture.sum(axis=-1, keepdims=True)


def _act(agent: BaseAgent, observations: object, action_masks: np.ndarray | None, deterministic: bool) -> Action:
    if action_masks is not None and isinstance(agent, ActsMasked):
        return agent.act_masked(observations, action_masks, deterministic=deterministic)
    return agent.act_batch(observations, deterministic=deterministic)


def _shares(weights: Sequence[float]) -> np.ndarray:
    """Return the weights as shares of 1; where all are 0, equal ones."""
    values = np.asarray(weights, np.float64)
    return values / values.sum() if values.sum() > 0.0 else np.full(values.size, 1.0 / values.size)


def _vote(acts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the (B, ...) elected of (K, B, ...) votes; each component of an action is elected by itself."""
    choices = np.unique(acts)
    votes = np.stack([np.tensordot(shares, acts == choice, axes=1) for choice in choices])
    return choices[votes.argmax(axis=0)]


def _kinds(agents: Sequence[BaseAgent], kinds: Sequence[str]) -> str:
    return ", ".join(f"{type(agent).__name__}: {kind}" for agent, kind in zip(agents, kinds, strict=True))
