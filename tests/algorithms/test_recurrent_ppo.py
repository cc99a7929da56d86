"""Recurrent PPO on both frameworks: what it remembers, how it learns, and that it comes back bit for bit."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks._memory_worlds import TMaze
from tensor_optix import (
    BatchPipeline,
    EnsembleAgent,
    HyperparamSet,
    PolicyManager,
    RLOptimizer,
    TFRecurrentPPOAgent,
    TorchRecurrentPPOAgent,
    VectorBatchPipeline,
    make_agent,
)
from tensor_optix.adapters.pytorch import _recurrent as in_torch
from tensor_optix.adapters.tensorflow import _recurrent as in_keras
from tensor_optix.adapters.tensorflow._adam import PaperAdam
from tensor_optix.core.agent_memory import hands_out_memory
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ContractError, InvalidArgumentError, ModelShapeError, SpaceError
from tests.fakes.built_in import both_frameworks, torch_now_keras_in_the_soak

cells = pytest.mark.parametrize("cell", ["lstm", "gru"])
FAST = {"n_epochs": 2, "minibatch_size": 32, "sequence_length": 8}


def agent_of(framework: str, cell: Any = "lstm", env: str = "CartPole-v1", **hyperparams: Any) -> Any:
    """A small agent; on TensorFlow without XLA, which takes ten seconds to compile the update."""
    params = {**FAST, **hyperparams}
    agent = make_agent(env, "recurrent_ppo", framework, params, seed=0, net_arch=(6, 6), cell=cell)
    if framework == "torch":
        return agent
    network = agent._models["network"]  # the built-in networks are nobody else's to see
    kind = "gaussian" if agent.action_range else "categorical"
    given = HyperparamSet({"learning_rate": 3e-4, **params})
    return TFRecurrentPPOAgent(network, PaperAdam(3e-4), given, distribution=kind, seed=0, compile=False)


def window_of(agent: Any, env: str = "CartPole-v1", n_envs: int = 2, windows: int = 2, size: int = 30) -> EpisodeData:
    """The last of some windows, so that episodes go on in it."""
    pipeline = VectorBatchPipeline((env, n_envs), agent, size, seed=0)
    pipeline.setup()
    try:
        return list(itertools.islice(pipeline.episodes(), windows))[-1]
    finally:
        pipeline.teardown()


@torch_now_keras_in_the_soak
@cells
def test_what_is_remembered_makes_the_difference(framework: str, cell: str) -> None:
    agent = agent_of(framework, cell)
    assert hands_out_memory(agent)
    seen = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    _, first = agent.act_recurrent(seen, [None])
    _, second = agent.act_recurrent(seen, first)
    assert first[0].shape == (24 if cell == "lstm" else 12,)
    assert not np.array_equal(first[0], second[0])
    _, anew = agent.act_recurrent(seen, [None])
    assert np.array_equal(anew[0], first[0])


@torch_now_keras_in_the_soak
@cells
def test_the_first_ratios_of_an_update_are_one_in_the_middle_of_episodes(framework: str, cell: str) -> None:
    agent = agent_of(framework, cell, n_epochs=1, minibatch_size=10_000, learning_rate=1e-9)
    window = window_of(agent)
    assert any(memory is not None for memory in window.memories or ())
    diagnostics = agent.learn(window)
    assert diagnostics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert diagnostics["clip_fraction"] == 0.0


@torch_now_keras_in_the_soak
def test_the_loss_is_the_same_however_long_the_rows_are(framework: str) -> None:
    found = []
    for length in (4, 64):
        agent = agent_of(framework, n_epochs=1, minibatch_size=10_000, sequence_length=length)
        diagnostics = agent.learn(window_of(agent))
        found.append([diagnostics[name] for name in ("policy_loss", "value_loss", "entropy", "explained_var")])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", pytest.param("gru", marks=pytest.mark.slow)])
def test_both_frameworks_make_the_same_update(cell: str) -> None:
    pair = [agent_of(framework, cell) for framework in ("torch", "tf")]
    networks = [agent._models["network"] for agent in pair]
    copy_weights(*networks)
    window = window_of(pair[0])
    assert np.array_equal(pair[0].window_log_probs(window).shape, (60,))
    np.testing.assert_allclose(pair[0].window_log_probs(window), pair[1].window_log_probs(window), atol=1e-5)
    first, second = (agent.learn(window) for agent in pair)
    assert first.keys() == second.keys()
    np.testing.assert_allclose(list(first.values()), [second[name] for name in first], rtol=2e-3, atol=2e-4)


def copy_weights(torch_network: in_torch.RecurrentNetwork, keras_network: in_keras.RecurrentNetwork) -> None:
    for name in ("policy", "value"):
        trunk, cell = getattr(torch_network, name), getattr(keras_network, f"{name}_cell")
        own = {path: weight.detach().numpy() for path, weight in trunk.named_parameters()}
        cell.kernel.assign(own["cell.weight_ih_l0"].T)
        cell.recurrent.assign(own["cell.weight_hh_l0"].T)
        cell.bias.assign(own["cell.bias_ih_l0"])
        cell.recurrent_bias.assign(own["cell.bias_hh_l0"])
        dense = [layer for layer in getattr(keras_network, f"{name}_head").layers if layer.weights]
        for i, layer in enumerate(dense):
            layer.kernel.assign(own[f"head.{2 * i}.weight"].T)
            layer.bias.assign(own[f"head.{2 * i}.bias"])


@torch_now_keras_in_the_soak
@pytest.mark.parametrize("n_envs", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_resumed_run_goes_on_bit_for_bit(framework: str, n_envs: int, tmp_path: Path) -> None:
    def made() -> tuple[Any, Any]:
        agent = agent_of(framework)
        if n_envs == 1:
            return agent, BatchPipeline("CartPole-v1", agent, window_size=30, seed=0)
        return agent, VectorBatchPipeline(("CartPole-v1", n_envs), agent, 10, seed=0)

    agent, pipeline = made()
    pipeline.setup()
    for window in itertools.islice(pipeline.episodes(), 2):
        agent.learn(window)
    agent.save_training_state(str(tmp_path / "state"))
    stream = json.loads(json.dumps(pipeline.stream_state()))
    resumed, other = made()
    resumed.load_training_state(str(tmp_path / "state"))
    other.setup()
    other.restore_stream(stream)
    for (one, mine), (another, its) in zip(played(agent, pipeline, 2), played(resumed, other, 2), strict=True):
        np.testing.assert_array_equal(one.observations, another.observations)
        np.testing.assert_array_equal(one.actions, another.actions)
        assert mine == its


def played(agent: Any, pipeline: Any, n: int) -> list[tuple[EpisodeData, Any]]:
    return [(window, agent.learn(window)) for window in itertools.islice(pipeline.episodes(), n)]


@torch_now_keras_in_the_soak
def test_a_snapshot_comes_back(framework: str) -> None:
    agent = agent_of(framework)
    window = window_of(agent)
    before, state = agent.window_log_probs(window), agent.snapshot()
    agent.learn(window)
    assert not np.array_equal(agent.window_log_probs(window), before)
    agent.restore(state)
    assert np.array_equal(agent.window_log_probs(window), before)


@both_frameworks
def test_act_remembers_until_an_episode_begins(framework: str) -> None:
    agent = agent_of(framework)
    seen = np.array([0.1, 0.2, 0.3, 0.4], np.float32)

    def drawn() -> list[Any]:
        agent.seed(3)
        agent.begin_episode()
        return [agent.act(seen) for _ in range(30)]

    assert drawn() == drawn()
    assert isinstance(agent.act(seen), int)


@torch_now_keras_in_the_soak
def test_numbers_have_a_free_deviation_and_a_range(framework: str) -> None:
    agent = agent_of(framework, env="Pendulum-v1")
    assert agent.action_range == (-1.0, 1.0)
    window = window_of(agent, "Pendulum-v1")
    assert window.actions.shape == (60, 1)
    assert np.isfinite(list(agent.learn(window).values())).all()


def test_masks_are_kept_to() -> None:
    agent = agent_of("torch")
    masks = np.tile([[False, True]], (5, 1))
    actions, _ = agent.act_recurrent(np.zeros((5, 4), np.float32), [None] * 5, action_masks=masks)
    assert (actions == 1).all()
    assert (agent.act_masked(np.zeros((5, 4), np.float32), ~masks) == 0).all()


def test_what_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(InvalidArgumentError, match="cell must be one of"):
        agent_of("torch", "rnn")
    agent = agent_of("torch")
    with pytest.raises(ModelShapeError, match="observations"):
        RLOptimizer(agent, BatchPipeline("Acrobot-v1"))
    with pytest.raises(SpaceError, match="gaussian"):
        RLOptimizer(agent, BatchPipeline("Pendulum-v1"))


def test_a_network_must_say_how_much_it_remembers() -> None:
    network = torch.nn.Linear(4, 3)
    with pytest.raises(ContractError, match="memory_size"):
        TorchRecurrentPPOAgent(network, torch.optim.Adam(network.parameters()), HyperparamSet({}))


def test_in_an_ensemble_the_learner_knows_its_own_log_probs(tmp_path: Path) -> None:
    members = [agent_of("torch"), agent_of("torch", "gru")]
    pm = PolicyManager(CheckpointRegistry(tmp_path))
    for member in members:
        pm.add_agent(member)
    ensemble = EnsembleAgent(pm, members[1], seed=0)
    window = window_of(ensemble)
    assert window.memories is not None
    own = [None if memory is None else memory[1] for memory in window.memories]
    assert members[1].window_log_probs(dataclasses.replace(window, memories=own)).shape == (60,)
    assert np.isfinite(ensemble.learn(window)["policy_loss"])


def test_a_short_maze_is_solved_which_a_policy_without_memory_cannot() -> None:
    params = {"learning_rate": 5e-3, "n_epochs": 4, "sequence_length": 16}
    agent = make_agent(TMaze(2), "recurrent_ppo", "torch", params, seed=0, net_arch=(16, 16))
    pipeline = VectorBatchPipeline([lambda: TMaze(2)] * 8, agent, 64, seed=0)
    pipeline.setup()
    returns = [0.0]
    for window in itertools.islice(pipeline.episodes(), 30):
        returns = [episode.total_return for episode in window.completed or ()]
        if np.mean(returns) > 0.8:  # the most without a memory is 0.5
            break
        agent.learn(window)
    assert np.mean(returns) > 0.8


@pytest.mark.slow
def test_another_number_of_rows_compiles_nothing_again() -> None:
    agent = agent_of("tf")
    for window in (window_of(agent, windows=n) for n in (1, 2, 3)):
        agent.learn(window)
    assert agent._update.traces == 1
