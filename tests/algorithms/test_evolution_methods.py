"""What ensembles, evolution and the audit of tuning ask of the built-in agents."""

from typing import Any

import numpy as np
import pytest

from tensor_optix import BaseAgent, EnsembleAgent, HyperparamSet, PolicyManager, make_agent
from tensor_optix.core.base_agent import (
    ActionLogProbabilities,
    ActionProbabilities,
    LearnsOffPolicy,
)
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.errors import BadDataError
from tests.fakes.built_in import AGENTS, agent_of, both_frameworks, torch_now_keras_in_the_soak
from tests.fakes.weights import model_weights

pytestmark = pytest.mark.usefixtures("plain_graphs")

OBSERVATIONS = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32) / 10


@both_frameworks
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_probabilities_are_the_frequencies_of_actions(algorithm: str, framework: str, is_masked: bool) -> None:
    agent = agent_of("CartPole-v1", algorithm, framework)
    if algorithm == "dqn":
        agent.set_hyperparams(HyperparamSet({**agent.get_hyperparams().params, "epsilon": 0.4}))
    assert isinstance(agent, ActionProbabilities)
    row = np.repeat(OBSERVATIONS[:1], 20_000, axis=0)
    masks = np.tile([True, False], (20_000, 1))
    probs = agent.action_probs(row, masks) if is_masked else agent.action_probs(row)
    actions = agent.act_masked(row, masks) if is_masked else agent.act_batch(row)
    assert probs is not None
    np.testing.assert_allclose(probs.sum(-1), 1.0, atol=1e-6)
    assert (actions == 0).mean() == pytest.approx(float(probs[0, 0]), abs=0.02)


def test_numbers_and_several_choices_have_no_table_of_probabilities() -> None:
    assert make_agent("Pendulum-v1", "ppo", "torch", seed=0).action_probs(np.zeros((2, 3))) is None  # type: ignore[attr-defined]


@both_frameworks
def test_a_learner_knows_how_likely_the_average_of_several_was_for_itself(framework: str, tmp_path: Any) -> None:
    from tensor_optix import BatchPipeline

    manager = PolicyManager(CheckpointRegistry(tmp_path))
    whole = {"n_epochs": 1, "minibatch_size": 64}
    members: list[Any] = [
        make_agent("Pendulum-v1", "ppo", framework, whole, seed=seed, net_arch=(8,)) for seed in range(2)
    ]
    for member in members:
        manager.add_agent(member)
    ensemble = EnsembleAgent(manager, members[0], seed=0)
    data = next(iter(BatchPipeline("Pendulum-v1", ensemble, window_size=64, seed=0).episodes()))
    mean = members[0].act_batch(np.asarray(data.observations), deterministic=True)
    (log_std,) = (array for name, array in model_weights(members[0]).items() if "log_std" in name)
    by_hand = -0.5 * np.square((data.actions - mean) / np.exp(log_std)) - log_std - 0.5 * np.log(2 * np.pi)
    seen = ensemble._as_seen_by(members[0], data)
    np.testing.assert_allclose(seen.log_probs, by_hand[:, 0], rtol=1e-4, atol=1e-5)
    found = ensemble.learn(data)
    assert found["approx_kl"] == pytest.approx(0.0, abs=1e-6)  # ratios begin at 1
    assert found["clip_fraction"] == 0.0
    assert not any(name.startswith("agent1") for name in found)


@both_frameworks
@pytest.mark.parametrize(("env", "algorithm"), AGENTS)
def test_replay_memories_learn_off_policy_and_ppo_does_not(env: str, algorithm: str, framework: str) -> None:
    agent = agent_of(env, algorithm, framework)
    assert isinstance(agent, LearnsOffPolicy) is (algorithm != "ppo")
    assert isinstance(agent, ActionLogProbabilities) is (algorithm == "ppo")


@both_frameworks
def test_log_probabilities_of_choices_are_those_of_the_table(framework: str) -> None:
    agent = agent_of("CartPole-v1", "ppo", framework)
    rows, actions = OBSERVATIONS[:4], np.array([0, 1, 1, 0])
    table = np.log(agent.action_probs(rows))
    np.testing.assert_allclose(agent.action_log_probs(rows, actions), table[np.arange(4), actions], rtol=1e-5)
    masks = np.zeros((4, 2), bool)
    masks[np.arange(4), actions] = True
    np.testing.assert_allclose(agent.action_log_probs(rows, actions, masks), 0.0, atol=1e-6)
    for bad in (np.array([0, 1, 2, 0]), np.array([0.5, 0, 0, 0]), np.array([0, 1])):
        with pytest.raises(BadDataError):
            agent.action_log_probs(rows, bad)


@torch_now_keras_in_the_soak
def test_an_ensemble_keeps_to_masks_and_its_members_learn_off_policy(framework: str, tmp_path: Any) -> None:
    from tensor_optix import BatchPipeline

    manager = PolicyManager(CheckpointRegistry(tmp_path))
    members: list[BaseAgent] = [agent_of("CartPole-v1", "ppo", framework, seed) for seed in range(2)]
    for member in members:
        manager.add_agent(member)
    ensemble = EnsembleAgent(manager, members[0], seed=0)
    masks = np.zeros((len(OBSERVATIONS), 2), bool)
    masks[np.arange(len(masks)), np.arange(len(masks)) % 2] = True
    for deterministic in (False, True):
        actions = ensemble.act_masked(OBSERVATIONS, masks, deterministic=deterministic)
        np.testing.assert_array_equal(actions, np.arange(len(masks)) % 2)
    data = next(iter(BatchPipeline("CartPole-v1", ensemble, window_size=64, seed=0).episodes()))
    found = ensemble.learn(data)
    assert found["n_updates"] == found["agent1_n_updates"] == 10
