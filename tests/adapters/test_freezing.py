"""Layers that are frozen or unfrozen while an agent trains: what is frozen stays, what is not is trained."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from tensor_optix import HyperparamSet
from tensor_optix.algorithms.tf_ppo import TFPPOAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.errors import ContractError
from tests.fakes.windows import windows

FIRST, SECOND, THIRD = windows(3)


def torch_agent(frozen: bool, optimizer: Any = torch.optim.Adam, only_trainable: bool = False) -> tuple[Any, Any]:
    torch.manual_seed(0)
    actor = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    critic = torch.nn.Linear(4, 1)
    actor[0].requires_grad_(not frozen)
    parameters = [p for p in (*actor.parameters(), *critic.parameters()) if p.requires_grad or not only_trainable]
    agent = TorchPPOAgent(actor, critic, optimizer(parameters, lr=1e-2), HyperparamSet({"n_epochs": 1}), seed=0)
    return agent, actor[0]


def keras_agent(frozen: bool, optimizer: Any = keras.optimizers.Adam) -> tuple[Any, Any]:
    layers = keras.layers
    actor = keras.Sequential([layers.Input((4,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    critic = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    actor.layers[0].trainable = not frozen
    agent = TFPPOAgent(actor, critic, optimizer(1e-2), HyperparamSet({"n_epochs": 1}), seed=0, compile=False)
    return agent, actor.layers[0]


def freeze(layer: Any, frozen: bool) -> None:
    if isinstance(layer, torch.nn.Module):
        layer.requires_grad_(not frozen)
    else:
        layer.trainable = not frozen


def kernel(layer: Any) -> np.ndarray:
    return layer.weight.detach().numpy().copy() if hasattr(layer, "weight") else layer.kernel.numpy()


KINDS = {
    "torch-adam": lambda frozen: torch_agent(frozen),
    "torch-sgd": lambda frozen: torch_agent(frozen, torch.optim.SGD),
    "torch-adamw": lambda frozen: torch_agent(frozen, torch.optim.AdamW),
    "keras-adam": lambda frozen: keras_agent(frozen),
    "keras-adamw": lambda frozen: keras_agent(frozen, keras.optimizers.AdamW),
}

TRACED_AGAIN = [("keras-adam", False), ("keras-adamw", True)]
"""Each takes seconds; the quick tier has every optimizer, and both orders."""


@pytest.mark.parametrize(
    ("kind", "frozen_first"),
    [
        pytest.param(kind, first, marks=[pytest.mark.slow] * ((kind, first) in TRACED_AGAIN))
        for kind in KINDS
        for first in (True, False)
    ],
)
def test_a_layer_learns_while_it_is_not_frozen(kind: str, frozen_first: bool) -> None:
    agent, layer = KINDS[kind](frozen_first)
    for window, frozen in ((FIRST, frozen_first), (SECOND, not frozen_first), (THIRD, frozen_first)):
        freeze(layer, frozen)
        before = kernel(layer)
        agent.learn(window)
        assert np.array_equal(before, kernel(layer)) == frozen


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "keras-adamw")) for kind in KINDS]
)
def test_a_model_that_is_all_frozen_stays(kind: str) -> None:
    agent, _ = KINDS[kind](False)
    agent.learn(FIRST)
    for model in agent._models.values():
        freeze(model, True)
    before = agent.snapshot()[0]
    assert agent.learn(SECOND)["grad_norm"] == 0.0
    assert all(np.array_equal(before[name], array) for name, array in agent.snapshot()[0].items())


def test_an_unfrozen_layer_that_the_optimizer_lacks_is_named() -> None:
    agent, layer = torch_agent(True, only_trainable=True)
    agent.learn(FIRST)
    freeze(layer, False)
    with pytest.raises(ContractError, match=r"weight of shape \(8, 4\) the optimizer does not have"):
        agent.learn(SECOND)


def test_freezing_does_not_change_what_else_is_learned() -> None:
    """A layer that was unfrozen and frozen again in between leaves the trained ones as they were."""
    plain, _ = torch_agent(True)
    moved, layer = torch_agent(False)
    freeze(layer, True)
    for window in (FIRST, SECOND):
        plain.learn(window)
        moved.learn(window)
    assert all(np.allclose(a, moved.snapshot()[0][name], atol=1e-6) for name, a in plain.snapshot()[0].items())
