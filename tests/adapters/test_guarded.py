"""Built-in agents are given back what they were, whichever of their tensors is spoilt."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import CheckpointRegistry, make_agent
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.learning import LearningGuard
from tensor_optix.core.types import EpisodeData
from tests.core.loop.test_guard import windows


def spoil(agent: Any, framework: str, name: str) -> None:
    """Put a NaN into one weight, past what refuses such weights."""
    model, _, key = name.partition(".")
    network = agent._models[model]
    if framework == "torch":
        next(value for n, value in network.named_parameters() if n == key).data.view(-1)[0] = math.nan
    else:
        names = list(agent._backend.weights({model: network}))
        variable = network.weights[names.index(name)]
        array = variable.numpy().copy()
        array.reshape(-1)[0] = math.nan
        variable.assign(array)


@pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=pytest.mark.slow)])
def test_each_tensor_that_is_spoilt_is_caught_and_given_back(framework: str, tmp_path: Path) -> None:
    agent: Any = make_agent("CartPole-v1", framework=framework, seed=0, net_arch=[4])
    first, second = windows(2)
    agent.learn(first)
    guard = LearningGuard(agent, CheckpointRegistry(tmp_path / "run"), Health())
    kept = agent.keep()
    weights = agent._backend.weights(agent._models)
    before = agent.first_non_finite(), {name: array.copy() for name, array in weights.items()}
    assert before[0] is None
    caught = []
    original = type(agent).learn
    for name in weights:

        def poisoned(window: EpisodeData, name: str = name) -> dict[str, Any]:
            found = original(agent, window)
            spoil(agent, framework, name)
            return found

        agent.learn = poisoned
        _, fault = guard.learn(second)
        caught.append(fault)
        after = agent._backend.weights(agent._models)
        assert all(np.array_equal(after[key], before[1][key]) for key in after)
        agent.give_back(kept)
    assert caught == [f"{name} is not finite after learn()" for name in weights]
    del agent.learn
    assert guard.learn(second)[1] is None  # what is not spoilt passes
