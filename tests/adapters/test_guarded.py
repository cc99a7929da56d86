"""Built-in agents are restored, whichever of their tensors is invalid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import CheckpointRegistry, make_agent
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.learning import learn_guarded
from tensor_optix.core.types import EpisodeData
from tests.fakes.weights import spoil, weights_of
from tests.fakes.windows import windows


@pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=pytest.mark.slow)])
def test_each_invalid_tensor_is_caught_and_the_agent_is_restored(framework: str, tmp_path: Path) -> None:
    agent: Any = make_agent("CartPole-v1", framework=framework, seed=0, net_arch=[4])
    first, second = windows(2)
    agent.learn(first)
    registry, health = CheckpointRegistry(tmp_path / "run"), Health()
    state = agent.snapshot()
    weights = weights_of(agent)
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
        _, fault = learn_guarded(agent, registry, health, second)
        caught.append(fault)
        after = weights_of(agent)
        assert all(np.array_equal(after[key], before[1][key]) for key in after)
        agent.restore(state)
    assert caught == [f"{name} is not finite after learn()" for name in weights]
    del agent.learn
    assert learn_guarded(agent, registry, health, second)[1] is None  # what is valid passes
