"""What learning leaves alone: neither judged, nor refused in a snapshot, nor mutated."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

from tensor_optix import HyperparamSet
from tensor_optix.algorithms.tf_ppo import TFPPOAgent
from tensor_optix.algorithms.torch_dqn import TorchDQNAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tests.fakes.windows import windows

pytestmark = pytest.mark.usefixtures("plain_graphs")

FIRST, SECOND = windows(2)


class Masked(torch.nn.Module):
    """A layer beside constants that are not finite, as a buffer and as a parameter that is not trained."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.net = torch.nn.Linear(4, outputs)
        self.register_buffer("causal", torch.triu(torch.full((3, 3), -math.inf), 1))
        self.unknown = torch.nn.Parameter(torch.full((2,), math.nan), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class KerasMasked(keras.layers.Layer):
    """Passes on its inputs, and holds a constant that is not finite."""

    def build(self, input_shape: Any) -> None:
        self.causal = self.add_weight(
            shape=(2,), initializer=lambda *_, **__: np.full(2, -np.inf), trainable=False, name="causal"
        )

    def call(self, x: Any) -> Any:
        return x


def ppo() -> TorchPPOAgent:
    actor, critic = Masked(2), Masked(1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    return TorchPPOAgent(actor, critic, optimizer, HyperparamSet({"n_epochs": 1}), seed=0)


def dqn() -> TorchDQNAgent:
    network = Masked(2)
    params = HyperparamSet({"learning_starts": 8, "batch_size": 8, "target_update_freq": 4})
    return TorchDQNAgent(network, 2, torch.optim.Adam(network.parameters()), params, seed=0)


def keras_ppo() -> TFPPOAgent:
    actor, critic = (keras.Sequential([keras.layers.Input((4,)), KerasMasked(), keras.layers.Dense(n)]) for n in (2, 1))
    return TFPPOAgent(actor, critic, keras.optimizers.Adam(), HyperparamSet({"n_epochs": 1}), seed=0, compile=False)


@pytest.mark.parametrize("made", [ppo, dqn, keras_ppo])
def test_constants_that_are_not_finite_are_kept_and_not_judged(made: Any, tmp_path: Path) -> None:
    agent, other = made(), made()
    agent.learn(FIRST)
    assert agent.first_non_finite() is None
    agent.restore(agent.snapshot())
    agent.save_weights(str(tmp_path / "weights"))
    other.load_weights(str(tmp_path / "weights"))
    agent.save_training_state(str(tmp_path / "state"))
    other.load_training_state(str(tmp_path / "state"))
    for each in (agent, other):
        each.learn(SECOND)
    found = other.snapshot()[0]
    for name, array in agent.snapshot()[0].items():
        np.testing.assert_array_equal(array, found[name])
        assert np.isfinite(array).all() == ("causal" not in name and "unknown" not in name)


@pytest.mark.parametrize("made", [ppo, dqn])
def test_what_is_trained_is_judged(made: Any) -> None:
    agent = made()
    with torch.no_grad():
        next(iter(agent._models.values())).net.bias[0] = math.nan
    assert agent.first_non_finite().endswith("net.bias")


def normalised() -> dict[str, Any]:
    torch.manual_seed(0)
    actor = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.BatchNorm1d(32), torch.nn.Linear(32, 2))
    actor[0].bias.requires_grad_(False)
    critic = torch.nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    layers = keras.layers
    network = keras.Sequential([layers.Input((4,)), layers.Dense(32), layers.BatchNormalization(), layers.Dense(2)])
    value = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    return {
        "torch": TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}), seed=0),
        "tf": TFPPOAgent(network, value, keras.optimizers.Adam(), HyperparamSet({}), seed=0),
    }


@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_noise_on_weights_touches_what_is_trainable_only(framework: str) -> None:
    agent = normalised()[framework]
    before = agent.snapshot()[0]
    agent.perturb_weights(0.5, np.random.default_rng(0))
    after = agent.snapshot()[0]
    moved = {name for name, array in before.items() if not np.array_equal(array, after[name])}
    trainable = agent._backend.trainable(agent._models)
    assert moved <= set(trainable)
    assert any("weight" in name or "kernel" in name for name in moved)
    assert not any(word in name for name in moved for word in ("running", "moving", "actor.0.bias"))


@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_running_statistics_are_judged(framework: str) -> None:
    agent = normalised()[framework]
    assert not any("running" in n or "moving" in n for n in agent._backend.constants(agent._models))
