"""The manager as users build it: what it refuses, and the callback that it hands out."""

from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.policy_manager import PolicyManager, PolicyManagerCallback
from tensor_optix.errors import ContractError, InvalidArgumentError
from tests.helpers import NumpyAgent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_spawns": -1}, "max_spawns must be a whole number of at least 0, but got -1"),
        ({"max_spawns": 1.5}, "max_spawns must be a whole number of at least 0, but got 1.5"),
        ({"max_ensemble_size": 0}, "max_ensemble_size must be a whole number of at least 1"),
        ({"max_ensemble_size": 1.5}, "max_ensemble_size must be a whole number of at least 1"),
        ({"score_window": 0}, "score_window must be a whole number of at least 1"),
        ({"score_window": 2.5}, "score_window must be a whole number of at least 1"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"seed": "a"}, "seed must be a whole number of at least 0"),
        ({"max_spawns": True}, "max_spawns must be a whole number of at least 0"),
        ({"max_ensemble_size": "a"}, "max_ensemble_size must be a whole number of at least 1"),
        ({"score_window": None}, "score_window must be a whole number of at least 1"),
        ({"weight_noise": -0.1}, "weight_noise must be a finite number of at least 0"),
        ({"weight_noise": "a"}, "weight_noise must be a finite number of at least 0"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        PolicyManager(CheckpointRegistry(tmp_path), **arguments)


def test_objects_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="registry must be a CheckpointRegistry, but got NoneType"):
        PolicyManager(None)  # type: ignore[arg-type]
    pm = PolicyManager(CheckpointRegistry(tmp_path))
    with pytest.raises(ContractError, match="mutation_fn must be a function, but got int"):
        pm.spawn_variant(NumpyAgent(), mutation_fn=5)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="agent must be a BaseAgent, but got int"):
        pm.as_callback(5)  # type: ignore[arg-type]


def test_the_callback_evolves_the_agent_that_it_was_asked_for(tmp_path: Path) -> None:
    agent = NumpyAgent()
    pm = PolicyManager(CheckpointRegistry(tmp_path), max_spawns=0)
    callback = pm.as_callback(agent)
    assert isinstance(callback, PolicyManagerCallback)
    assert (callback.pm, callback.learners.learner, callback.learners.can_spawn) == (pm, agent, False)
    assert pm.as_callback(agent, agent_factory=NumpyAgent).learners.can_spawn
