import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.ensemble_agent import EnsembleAgent
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import (
    CheckpointMismatchError,
    ContractError,
    EvolutionError,
    InvalidArgumentError,
    SpaceError,
)
from tests.helpers import ConstantAgent, NumpyAgent, TabularAgent, window_of


def ensemble(folder: Path, *agents: NumpyAgent, weights: tuple[float, ...] = ()) -> tuple[EnsembleAgent, PolicyManager]:
    pm = PolicyManager(CheckpointRegistry(folder))
    for agent, weight in zip(agents, weights or [1.0] * len(agents), strict=True):
        pm.add_agent(agent, weight)
    return EnsembleAgent(pm, agents[0], seed=0), pm


def test_it_acts_by_the_mixture(tmp_path: Path) -> None:
    agent, _ = ensemble(tmp_path, TabularAgent([1.0, 0.0]), TabularAgent([0.0, 1.0]), weights=(1.0, 3.0))
    observations = np.zeros((4000, 1), np.float32)
    assert np.mean(agent.act_batch(observations)) == pytest.approx(0.75, abs=0.03)
    assert set(agent.act_batch(observations[:5], deterministic=True)) == {1}
    assert type(agent.act(observations[0])) is int


def test_numbers_are_the_weighted_mean(tmp_path: Path) -> None:
    agent, _ = ensemble(tmp_path, ConstantAgent(np.array([1.0])), ConstantAgent(np.array([0.0])), weights=(3.0, 1.0))
    np.testing.assert_allclose(agent.act(np.zeros(1)), [0.75])


def test_all_members_learn_with_the_log_probabilities_of_the_mixture(tmp_path: Path) -> None:
    one, other = TabularAgent([0.9, 0.1]), TabularAgent([0.1, 0.9])
    agent, _ = ensemble(tmp_path, one, other, weights=(3.0, 1.0))
    window = window_of(1.0, length=4)
    window.actions[1] = 1
    diagnostics = agent.learn(window)
    for member in (one, other):
        (seen,) = member.windows
        np.testing.assert_allclose(np.exp(seen.log_probs), [0.7, 0.3, 0.7, 0.7], rtol=1e-6)
    assert diagnostics == {"loss": 1.0, "agent1_loss": 1.0}
    assert window.log_probs is None


def test_log_probabilities_that_were_recorded_are_kept(tmp_path: Path) -> None:
    one = TabularAgent([0.5, 0.5])
    agent, _ = ensemble(tmp_path, one)
    agent.learn(dataclasses.replace(window_of(1.0), log_probs=np.array([-1.0, -2.0])))
    np.testing.assert_array_equal(one.windows[0].log_probs, [-1.0, -2.0])


def test_without_probabilities_only_the_primary_agent_learns(tmp_path: Path) -> None:
    one, other = ConstantAgent(0), ConstantAgent(1)
    agent, _ = ensemble(tmp_path, one, other)
    assert agent.learn(window_of(1.0)) == {"loss": 1.0}
    assert (one.learned, other.learned) == ([0], [])


def test_hyper_parameters_are_the_primary_agents(tmp_path: Path) -> None:
    one, other = NumpyAgent(0.1), NumpyAgent(0.2)
    agent, _ = ensemble(tmp_path, one, other)
    assert agent.get_hyperparams().params == {"learning_rate": 0.1}
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.5}))
    assert (one.params["learning_rate"], other.params["learning_rate"]) == (0.5, 0.2)
    agent.set_learner(other)
    assert agent.get_hyperparams().params == {"learning_rate": 0.2}


def test_all_weights_are_saved_and_the_primary_agents_alone_can_be_read(tmp_path: Path) -> None:
    one, other = NumpyAgent(), NumpyAgent()
    agent, pm = ensemble(tmp_path, one, other)
    one.weight, other.weight = 1.0, 2.0
    snapshot = pm.registry.save(agent, EvalMetrics(1.0))
    one.weight = other.weight = 9.0
    pm.registry.load(snapshot, agent)
    assert (one.weight, other.weight) == (1.0, 2.0)
    shell = NumpyAgent()
    pm.registry.load(snapshot, shell)
    assert shell.weight == 1.0
    newcomer = NumpyAgent()
    newcomer.weight = 7.0
    pm.add_agent(newcomer)
    pm.registry.load(snapshot, agent)
    assert newcomer.weight == 7.0


def test_members_find_their_weights_by_name_whoever_joins_leads_or_leaves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = [NumpyAgent() for _ in range(3)]
    agent, pm = ensemble(tmp_path, *members, weights=(1.0, 2.0, 3.0))
    for member, weight in zip(members, (1.0, 2.0, 3.0), strict=True):
        member.weight = weight
    snapshot = pm.registry.save(agent, EvalMetrics(1.0))
    newcomer = NumpyAgent()
    newcomer.weight = 7.0
    pm.add_agent(newcomer, 4.0)
    agent.set_learner(newcomer)
    pm.boost(members[1], 10.0)
    for member in members:
        member.weight = 0.0
    pm.registry.load(snapshot, agent)
    assert [member.weight for member in (*members, newcomer)] == [1.0, 2.0, 3.0, 7.0]
    assert pm.weights == (1.0, 2.0, 3.0, 0.0)  # the mixture that was scored, and nobody besides
    assert "in this one no more" not in caplog.text
    pm.discard(members[1])
    members[2].weight = 0.0
    pm.registry.load(snapshot, agent)
    assert (members[0].weight, members[2].weight) == (1.0, 3.0)
    assert "1 of its members are in this one no more" in caplog.text


def test_a_training_state_needs_its_members(tmp_path: Path) -> None:
    one, other = NumpyAgent(), NumpyAgent()
    agent, pm = ensemble(tmp_path, one, other)
    one.weight, other.weight = 1.0, 2.0
    agent.set_learner(other)
    agent.save_training_state(str(tmp_path / "state"))
    one.weight = other.weight = 0.0
    agent.set_learner(one)  # each finds its own, whoever leads now
    agent.load_training_state(str(tmp_path / "state"))
    assert (one.weight, other.weight) == (1.0, 2.0)
    pm.discard(other)
    with pytest.raises(CheckpointMismatchError, match=r"of the members \['0', '1'\], but this ensemble has \['0'\]"):
        agent.load_training_state(str(tmp_path / "state"))


def test_when_the_primary_agent_leaves_the_heaviest_takes_its_place(tmp_path: Path) -> None:
    one, light, heavy = NumpyAgent(0.1), NumpyAgent(0.2), NumpyAgent(0.3)
    agent, pm = ensemble(tmp_path, one, light, heavy, weights=(9.0, 1.0, 2.0))
    pm.discard(one)
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.5}))
    assert agent.primary_agent is heavy
    assert [a.params["learning_rate"] for a in (one, light, heavy)] == [0.1, 0.2, 0.5]


def test_learning_from_the_actions_of_others_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alone, _ = ensemble(tmp_path, ConstantAgent(0))
    alone.learn(window_of(1.0))
    assert caplog.text == ""
    agent, _ = ensemble(tmp_path, ConstantAgent(0), ConstantAgent(1))
    for _ in range(2):
        agent.learn(window_of(1.0))
    assert caplog.text.count("ConstantAgent learns from actions that all members of the ensemble chose") == 1


class Teller(ConstantAgent):
    """Tells how likely an action is for it: the less, the farther it is from its own."""

    def __init__(self, action: np.ndarray) -> None:
        super().__init__(action)
        self.windows: list[EpisodeData] = []

    def action_log_probs(self, observations: Any, actions: Any, action_masks: Any = None) -> np.ndarray:
        return -np.square(np.asarray(actions) - self.action).sum(-1) - (0 if action_masks is None else 100)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.windows.append(episode_data)
        return super().learn(episode_data)


def averaged(agent: EnsembleAgent) -> EpisodeData:
    window = window_of(1.0)
    return dataclasses.replace(window, actions=agent.act_batch(window.observations))


def test_averaged_actions_carry_the_log_probability_that_they_have_for_the_learner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = Teller(np.array([1.0])), Teller(np.array([0.0]))
    agent, _ = ensemble(tmp_path, one, other, weights=(3.0, 1.0))
    window = averaged(agent)  # 0.75
    agent.learn(window)
    agent.set_learner(other)
    agent.learn(window)
    agent.learn(dataclasses.replace(window, log_probs=np.array([-1.0, -2.0])))
    agent.learn(dataclasses.replace(window, action_masks=np.ones((2, 1), bool)))
    np.testing.assert_allclose([w.log_probs for w in one.windows], [[-0.0625, -0.0625]])
    np.testing.assert_allclose(
        [w.log_probs for w in other.windows], [[-0.5625] * 2, [-1.0, -2.0], [-100.5625] * 2], rtol=1e-6
    )
    assert window.log_probs is None
    assert caplog.text == ""


def test_who_learns_off_policy_gets_averaged_actions_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Teller(np.array([1.0]))
    one.learns_off_policy = True  # type: ignore[attr-defined]
    agent, _ = ensemble(tmp_path, one, ConstantAgent(np.array([0.0])))
    agent.learn(averaged(agent))
    assert one.windows[0].log_probs is None
    assert caplog.text == ""
    one.learns_off_policy = False  # type: ignore[attr-defined]
    agent.learn(averaged(agent))
    assert one.windows[1].log_probs is not None


def test_a_seed_repeats_the_actions(tmp_path: Path) -> None:
    agent, _ = ensemble(tmp_path, TabularAgent([0.5, 0.5]), TabularAgent([0.3, 0.7]))
    observations = np.zeros((50, 1), np.float32)
    agent.seed(3)
    first = agent.act_batch(observations)
    agent.seed(3)
    np.testing.assert_array_equal(agent.act_batch(observations), first)


def test_bad_members_are_refused(tmp_path: Path) -> None:
    pm = PolicyManager(CheckpointRegistry(tmp_path))
    with pytest.raises(EvolutionError, match="no members"):
        EnsembleAgent(pm, NumpyAgent())
    with pytest.raises(ContractError, match="pm must be a PolicyManager, but got int"):
        EnsembleAgent(5, NumpyAgent())  # type: ignore[arg-type]
    member = NumpyAgent()
    pm.add_agent(member)
    for other in (NumpyAgent(), 5, None):
        with pytest.raises(ContractError, match="is no member"):
            EnsembleAgent(pm, other)  # type: ignore[arg-type]
    for seed in (-1, "a"):
        with pytest.raises(InvalidArgumentError, match="seed must be a whole number of at least 0"):
            EnsembleAgent(pm, member, seed=seed)  # type: ignore[arg-type]


def test_an_ensemble_that_all_have_left_is_a_typed_error(tmp_path: Path) -> None:
    member = TabularAgent([0.5, 0.5])
    agent, pm = ensemble(tmp_path, member)
    pm.discard(member)
    observations, masks = np.zeros((2, 1)), np.ones((2, 2), bool)
    for call in (
        lambda: agent.act(observations[0]),
        lambda: agent.act_batch(observations),
        lambda: agent.act_masked(observations, masks),
        lambda: agent.learn(window_of(1.0)),
        lambda: pm.ensemble_action(observations[0]),
        agent.get_hyperparams,
    ):
        with pytest.raises(EvolutionError, match="no members"):
            call()


@pytest.mark.parametrize(
    "members",
    [
        (TabularAgent([0.5, 0.5]), TabularAgent([0.2, 0.3, 0.5])),
        (ConstantAgent(1), ConstantAgent(np.array([0.5]))),
        (ConstantAgent(np.array([0.5, 0.5])), ConstantAgent(np.array([0.5]))),
    ],
)
def test_members_of_different_action_spaces_are_refused_when_they_act(tmp_path: Path, members: tuple) -> None:
    agent, pm = ensemble(tmp_path, *members)
    for call in (agent.act, pm.ensemble_action):
        with pytest.raises(SpaceError, match="must share one action space"):
            call(np.zeros(1))
