"""Which agents remember, and how they are let act."""

from typing import Any

import numpy as np
import pytest

from tensor_optix import EnsembleAgent, PolicyManager, TorchPPOAgent, make_agent
from tensor_optix.core.agent_memory import (
    act_remembering,
    actions_along,
    hands_out_memory,
    is_told_of_episodes,
    on_a_copy_of_memory,
    plays_alone,
)
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EpisodeData
from tests.fakes.remembering import Handing, Keeping, Told, Undeclared, UndeclaredBatch
from tests.helpers import NumpyAgent


def unheard(_: bool) -> None:
    """Notes nothing."""


@pytest.mark.parametrize(
    ("kind", "hands_out", "is_told", "alone"),
    [
        (Handing, True, False, False),
        (Keeping, True, False, False),
        (Told, False, True, True),
        (Undeclared, False, False, True),
        (UndeclaredBatch, False, False, False),
    ],
)
def test_what_an_agent_declares_is_what_it_is_taken_for(kind: Any, hands_out: bool, is_told: bool, alone: bool) -> None:
    for agent in (kind(unheard), GreedyAgent(kind(unheard))):
        assert (hands_out_memory(agent), is_told_of_episodes(agent), plays_alone(agent)) == (hands_out, is_told, alone)


def test_a_built_in_agent_remembers_nothing() -> None:
    agent = make_agent("CartPole-v1", framework="torch", seed=0)
    assert isinstance(agent, TorchPPOAgent)
    assert not any(ask(agent) for ask in (hands_out_memory, is_told_of_episodes, plays_alone))


def ensemble(tmp_path: Any, *members: BaseAgent) -> EnsembleAgent:
    pm = PolicyManager(CheckpointRegistry(tmp_path))
    for member in members:
        pm.add_agent(member)
    return EnsembleAgent(pm, members[0], seed=0)


def test_an_ensemble_is_what_its_members_are(tmp_path: Any) -> None:
    assert hands_out_memory(ensemble(tmp_path, NumpyAgent(), Handing(unheard)))
    assert not hands_out_memory(ensemble(tmp_path, NumpyAgent(), Undeclared(unheard)))
    assert plays_alone(ensemble(tmp_path, Handing(unheard), Undeclared(unheard)))


ROWS = np.array([[1.0, 0.0], [2.0, 0.0]])


@pytest.mark.parametrize("kind", [Handing, Keeping])
def test_each_row_has_a_memory_of_its_own(kind: Any) -> None:
    seen: list[bool] = []
    agent = kind(seen.append)
    memories: list[Any] = [None, None]
    for step in range(3):
        actions, memories = act_remembering(agent, ROWS + np.array([0, step]), memories)
        assert np.shape(actions) == (2,)
    assert seen == [True] * 6


def test_the_members_of_an_ensemble_remember_apart(tmp_path: Any) -> None:
    seen: list[bool] = []
    agent = ensemble(tmp_path, Handing(seen.append), NumpyAgent(), Keeping(seen.append))
    memories: list[Any] = [None, None]
    for step in range(3):
        _, memories = act_remembering(GreedyAgent(agent), ROWS + np.array([0, step]), memories)
    assert seen == [True] * 12


def test_a_member_learns_with_its_own_memories(tmp_path: Any) -> None:
    learned: list[Any] = []

    class Learner(Handing):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            learned.append(episode_data.memories)
            return {}

    learner = Learner(unheard)
    ensemble(tmp_path, learner).learn(window(memories=[(np.array([1.0, 2.0]),)]))
    assert [memory.tolist() for memory in learned[0]] == [[1.0, 2.0]]


def window(n_envs: int = 1, memories: Any = None) -> EpisodeData:
    """Return two steps of an episode in progress and two of the next one, for each environment."""
    one = np.array([[1.0, 3.0], [1.0, 4.0], [2.0, 0.0], [2.0, 1.0]])
    ends = np.tile([False, True, False, False], n_envs)
    return EpisodeData(
        observations=np.concatenate([one] * n_envs),
        actions=np.zeros(4 * n_envs, np.int64),
        rewards=np.ones(4 * n_envs, np.float32),
        terminated=ends,
        truncated=np.zeros_like(ends),
        n_envs=n_envs,
        memories=memories,
    )


@pytest.mark.parametrize("n_envs", [1, 3])
def test_a_challenger_sees_a_window_as_if_it_had_acted_in_it(n_envs: int) -> None:
    seen: list[bool] = []
    memories = [np.array([1.0, 2.0])] * n_envs
    assert actions_along(Handing(seen.append), window(n_envs, memories)).shape == (4 * n_envs,)
    assert seen == [True] * 4 * n_envs


def test_an_undeclared_memory_is_as_before_after_a_look_at_a_window() -> None:
    agent = Undeclared(unheard)
    agent.act(np.array([7.0, 0.0]))
    actions_along(agent, window())
    assert agent.last.tolist() == [7.0, 0.0]


def test_acting_on_a_copy_leaves_no_trace() -> None:
    agent = UndeclaredBatch(unheard)
    with on_a_copy_of_memory(GreedyAgent(agent)) as preserved:
        agent.act(np.array([7.0, 0.0]))
    assert preserved.has_changed
    assert (agent.rows == -1.0).all()


class FromParts(NumpyAgent):
    """Its `act` is no method of its class: each agent gets its own."""

    act: Any = None

    def __init__(self, act: Any) -> None:
        super().__init__()
        self.act = act


def test_an_act_that_is_handed_to_the_agent_may_act_on_a_copy() -> None:
    agent = FromParts(lambda observation: int(observation[0] > 0))
    with on_a_copy_of_memory(agent):
        assert agent.act(np.ones(2)) == 1
