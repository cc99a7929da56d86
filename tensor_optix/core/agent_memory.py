"""What an agent remembers of an episode: handed in and out, kept by itself, or not declared at all.

| the agent has | one episode | several side by side | validation |
|---|---|---|---|
| `act_recurrent` | a memory per episode is handed in and out | the same | the same |
| `begin_episode`, `episode_memory` | the memory is exchanged before each action | the same | the same |
| `begin_episode` alone | `begin_episode` at each start | refused | one after the other, on a copy of its state |
| an `act_batch` of its own | it is asked as it is | as it is | together; one after the other if acting changes it |
| none of these | it is asked as it is | as it is, row by row | one after the other, on a copy of its state |
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from tensor_optix.core.base_agent import ActsRecurrently, BaseAgent, BeginsEpisodes, GreedyAgent, takes_masks
from tensor_optix.core.types import Action, EpisodeData, Memory, Observation
from tensor_optix.support.preserving import Leftover, Preserved, Watched
from tensor_optix.support.trees import as_arrays, is_tree, mapped, rows, stacked, taken, without_gradients


@runtime_checkable
class KeepsMemory(BeginsEpisodes, Protocol):
    """An agent that keeps its memory in an attribute which may be exchanged."""

    episode_memory: Memory
    """What it remembers of the episode in progress."""


@runtime_checkable
class Combines(Protocol):
    """An agent that acts through others."""

    @property
    def acting_agents(self) -> Sequence[BaseAgent]:
        """The agents that act."""
        ...


def acting_agent(agent: BaseAgent) -> BaseAgent:
    """Return the agent itself, or the one whose greedy actions it shows."""
    return agent.agent if isinstance(agent, GreedyAgent) else agent


def hands_out_memory(agent: BaseAgent) -> bool:
    """Return whether `act_remembering` can let an agent act in several episodes side by side, a memory for each."""
    agent = acting_agent(agent)
    if isinstance(agent, Combines):
        return any(map(hands_out_memory, agent.acting_agents))
    return isinstance(agent, ActsRecurrently | KeepsMemory)


def is_told_of_episodes(agent: BaseAgent) -> bool:
    """Return whether an agent keeps one memory for itself, and is to be told where an episode begins."""
    agent = acting_agent(agent)
    return isinstance(agent, BeginsEpisodes) and not hands_out_memory(agent)


def plays_alone(agent: BaseAgent) -> bool:
    """Return whether an agent must play validation episodes one after the other.

    So it must if it keeps one memory, and if it may keep one: the default `act_batch` asks `act` row by row.
    """
    agent = acting_agent(agent)
    if isinstance(agent, Combines):
        return any(map(plays_alone, agent.acting_agents))
    return not hands_out_memory(agent) and (
        isinstance(agent, BeginsEpisodes) or type(agent).act_batch is BaseAgent.act_batch
    )


def on_a_copy_of_memory(agent: BaseAgent, going_on: Leftover | None = None) -> Preserved:
    """Return what lets an agent act without a trace, whether it declares a memory or not; see `Preserved`.

    Args:
        agent: who acts.
        going_on: what it remembers of an episode in progress, which an earlier block has left.
    """
    return Preserved([one for one in _members(acting_agent(agent)) if not is_ours(one)], going_on)


def watching_memory(agent: BaseAgent) -> Watched:
    """Return what tells which attributes acting changes; see `Watched`."""
    return Watched([one for one in _members(acting_agent(agent)) if not is_ours(one)])


def act_remembering(
    agent: BaseAgent,
    observations: Observation,
    memories: Sequence[Memory],
    *,
    action_masks: np.ndarray | None = None,
    deterministic: bool = False,
) -> tuple[Action, list[Memory]]:
    """Return one action per row and the memories after them; see `ActsRecurrently.act_recurrent`.

    An agent without a memory has None as its memory.
    """
    deterministic = deterministic or isinstance(agent, GreedyAgent)
    agent = acting_agent(agent)
    if isinstance(agent, ActsRecurrently):
        chosen, remembered = agent.act_recurrent(
            observations, memories, action_masks=action_masks, deterministic=deterministic
        )
        return without_gradients(chosen), list(remembered)
    if not isinstance(agent, KeepsMemory):
        return _act(agent, observations, action_masks, deterministic), [None] * len(memories)
    actions: list[Action] = []
    after: list[Memory] = []
    for row, memory in enumerate(memories):
        if memory is None:
            agent.begin_episode()
        else:
            agent.episode_memory = copy.deepcopy(memory)
        masks = None if action_masks is None else action_masks[row : row + 1]
        actions.append(_act_alone(agent, taken(observations, row), masks, deterministic))
        after.append(copy.deepcopy(agent.episode_memory))
    is_list = len(actions) == 1 or any(map(is_tree, actions))
    return actions if is_list else np.stack([np.asarray(action) for action in actions]), after


def actions_along(agent: BaseAgent, window: EpisodeData) -> Action:
    """Return the (T, ...) actions that an agent would choose at the observations of a window, in their order.

    It sees each episode from its first step in the window on, with the memory that the window began with.
    """
    seen, masks = window.observations, window.action_masks
    if not hands_out_memory(agent):
        with on_a_copy_of_memory(agent):
            return _act(agent, seen, masks, deterministic=False)
    n_envs, steps = window.n_envs, window.length // window.n_envs
    memories: Sequence[Memory] = window.memories or [None] * n_envs
    dones = window.dones
    chosen: list[Action] = []
    for t in range(steps):
        now = np.arange(n_envs) * steps + t
        actions, memories = act_remembering(
            agent, taken(seen, now), memories, action_masks=None if masks is None else masks[now]
        )
        memories = [None if dones[row] else memory for row, memory in zip(now, memories, strict=True)]
        chosen.append(as_arrays(actions))
    return mapped(lambda *arrays: np.stack(arrays, axis=1).reshape(window.length, *arrays[0].shape[1:]), *chosen)


def with_memories_of(index: int, window: EpisodeData) -> EpisodeData:
    """Return the window of an ensemble as one of its members', by number, remembers it."""
    if window.memories is None:
        return window
    return replace(window, memories=[None if memory is None else memory[index] for memory in window.memories])


def _act(agent: BaseAgent, observations: Observation, masks: np.ndarray | None, deterministic: bool) -> Action:
    if masks is not None and takes_masks(agent):
        return agent.act_masked(observations, masks, deterministic=deterministic)
    return agent.act_batch(observations, deterministic=deterministic)


def _act_alone(agent: BaseAgent, observation: Observation, masks: np.ndarray | None, deterministic: bool) -> Action:
    if deterministic or masks is not None:
        return rows(_act(agent, stacked([observation]), masks, deterministic))[0]
    return without_gradients(agent.act(observation))


def _members(agent: BaseAgent) -> list[BaseAgent]:
    return (
        [one for member in agent.acting_agents for one in _members(member)] if isinstance(agent, Combines) else [agent]
    )


def is_ours(agent: BaseAgent) -> bool:
    """Return True for the agents of this library: their acting leaves no trace but in the generator."""
    methods = (getattr(type(agent), name, None) for name in ("act", "act_batch"))
    return all((getattr(method, "__module__", None) or "").startswith("tensor_optix.") for method in methods)
