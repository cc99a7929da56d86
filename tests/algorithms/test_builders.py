"""Ready agents of each framework: from the same words, with the parts that the algorithm needs."""

from typing import Any

import pytest
import torch

from tensor_optix.adapters._architecture import Architecture
from tensor_optix.algorithms._builders import builder_for
from tensor_optix.algorithms._distributions import distribution_named
from tensor_optix.core.types import HyperparamSet
from tests.fakes.weights import assert_equal_weights, weights_of

torch.set_num_threads(1)
both = pytest.mark.parametrize("framework", ["torch", "tf"])
NONE = HyperparamSet({})


def network(builder: Any, inputs: int = 3, outputs: int = 2) -> Any:
    return builder.network(
        Architecture(input_shape=(inputs,), hidden=(4,), outputs=outputs, activation="relu", initial="orthogonal")
    )


def agent(framework: str, algorithm: str, seed: int = 3) -> Any:
    builder = builder_for(framework, seed)
    if algorithm == "dqn":
        return builder.dqn(network(builder), 2, HyperparamSet({"replay_capacity": 300}))
    if algorithm == "sac":
        networks = [network(builder, outputs=4), network(builder, 5, 1), network(builder, 5, 1)]
        return builder.sac(networks, 2, HyperparamSet({"replay_capacity": 300}), "white")
    return builder.ppo(network(builder), network(builder, outputs=1), NONE, distribution_named(algorithm))


@both
@pytest.mark.parametrize("algorithm", ["dqn", "sac", "categorical", "gaussian"])
def test_the_same_seed_builds_the_same_agent_and_another_does_not(framework: str, algorithm: str) -> None:
    first = weights_of(agent(framework, algorithm))
    assert_equal_weights(first, weights_of(agent(framework, algorithm)))
    other = weights_of(agent(framework, algorithm, seed=4))
    assert first.keys() == other.keys()
    assert any((array != other[name]).any() for name, array in first.items())


@both
def test_only_a_gaussian_actor_has_a_learned_spread(framework: str) -> None:
    discrete, continuous = (weights_of(agent(framework, name)) for name in ("categorical", "gaussian"))
    assert len(continuous) == len(discrete) + 1


@both
def test_networks_of_one_builder_differ(framework: str) -> None:
    builder = builder_for(framework, 3)
    dqn = [builder.dqn(network(builder), 2, HyperparamSet({"replay_capacity": 300})) for _ in range(2)]
    first, second = (weights_of(one) for one in dqn)
    assert any((array != second[name]).any() for name, array in first.items())


def test_without_a_seed_agents_differ() -> None:
    first, second = (
        weights_of(builder.dqn(network(builder), 2, HyperparamSet({"replay_capacity": 300})))
        for builder in (builder_for("torch", None), builder_for("torch", None))
    )
    assert any((array != second[name]).any() for name, array in first.items())
