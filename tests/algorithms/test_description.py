"""What a built-in agent is built from: two of the same are equal, and none can be changed."""

import dataclasses

import pytest

from tensor_optix.algorithms._description import ALGORITHMS, FRAMEWORKS, AgentDescription


def test_it_is_a_value() -> None:
    first, second = (
        AgentDescription(algorithm=ALGORITHMS[0], framework=FRAMEWORKS[0], net_arch=(8,), hyperparams={"gamma": 0.9})
        for _ in range(2)
    )
    assert first == second
    assert first != dataclasses.replace(first, exploration_noise="pink")
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.algorithm = "sac"  # type: ignore[misc]
