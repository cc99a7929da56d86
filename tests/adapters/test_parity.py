"""Both frameworks, from equal weights, window and minibatch order, make the same update."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import BatchPipeline, EpisodeData, HyperparamSet, TFPPOAgent, TorchPPOAgent
from tensor_optix.adapters._weights import translated
from tensor_optix.adapters.tensorflow._adam import PaperAdam

torch.set_num_threads(1)


def torch_agent(n_observations: int, n_outputs: int, params: dict[str, Any], **kwargs: Any) -> TorchPPOAgent:
    torch.manual_seed(0)

    def network(size: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(n_observations, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, size)
        )

    actor, critic = network(n_outputs), network(1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], eps=1e-5)
    return TorchPPOAgent(actor, critic, optimizer, HyperparamSet(params), seed=5, compile=False, **kwargs)


def tf_agent(n_observations: int, n_outputs: int, params: dict[str, Any], **kwargs: Any) -> TFPPOAgent:
    def network(size: int) -> keras.Sequential:
        layers = keras.layers
        return keras.Sequential(
            [
                layers.Input((n_observations,)),
                layers.Dense(64, "tanh"),
                layers.Dense(64, "tanh"),
                layers.Dense(size),
            ]
        )

    optimizer = PaperAdam(epsilon=1e-5)
    return TFPPOAgent(network(n_outputs), network(1), optimizer, HyperparamSet(params), seed=5, **kwargs)


def weights_of(agent: Any) -> dict[str, np.ndarray]:
    return agent._backend.weights({"actor": agent._actor, "critic": agent._critic})


def differences(first: TorchPPOAgent, second: TFPPOAgent) -> float:
    theirs = weights_of(second)
    ours = translated(weights_of(first), list(weights_of(first)), theirs)
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs)


def window_on(env: str, agent: Any, size: int) -> EpisodeData:
    return next(iter(BatchPipeline(env, agent, window_size=size, seed=1).episodes()))


@pytest.mark.parametrize(("env", "n_observations", "n_outputs", "distribution"), [
    ("CartPole-v1", 4, 2, "categorical"),
    ("Pendulum-v1", 3, 2, "gaussian"),
])  # fmt: skip
@pytest.mark.parametrize(
    ("window", "minibatch", "epochs", "steps", "tolerance"), [(64, 64, 1, 1, 1e-6), (2048, 64, 10, 320, 1e-4)]
)
def test_both_frameworks_make_the_same_update(
    tmp_path: Path,
    env: str,
    n_observations: int,
    n_outputs: int,
    distribution: str,
    window: int,
    minibatch: int,
    epochs: int,
    steps: int,
    tolerance: float,
) -> None:
    params = {"minibatch_size": minibatch, "n_epochs": epochs, "gamma": 0.9}
    first = torch_agent(n_observations, n_outputs, params, distribution=distribution)
    second = tf_agent(n_observations, n_outputs, params, distribution=distribution)
    first.save_weights(str(tmp_path / "weights"))
    second.load_weights(str(tmp_path / "weights"))
    assert differences(first, second) == 0.0

    data = window_on(env, torch_agent(n_observations, n_outputs, params, distribution=distribution), window)
    ours, theirs = first.learn(data), second.learn(data)

    assert ours.keys() == theirs.keys()
    assert ours["n_updates"] == steps
    for name in ours:
        assert ours[name] == pytest.approx(theirs[name], rel=2e-3, abs=2e-5), name
    assert differences(first, second) <= tolerance


def test_a_snapshot_of_one_framework_acts_the_same_in_the_other(tmp_path: Path) -> None:
    first, second = torch_agent(4, 2, {}), tf_agent(4, 2, {})
    observations = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    second.save_weights(str(tmp_path / "keras"))
    first.load_weights(str(tmp_path / "keras"))
    np.testing.assert_array_equal(
        first.act_batch(observations, deterministic=True), second.act_batch(observations, deterministic=True)
    )
    np.testing.assert_allclose(first._policy(observations), second._policy(observations), atol=1e-6)
