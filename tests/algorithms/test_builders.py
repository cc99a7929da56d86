"""Ready agents of each framework: from the same words, with the parts that the algorithm needs."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tensor_optix.adapters._architecture import Architecture
from tensor_optix.adapters.saving.weights import shared_names
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


PICTURES = Architecture(
    input_shape=(36, 36, 1), hidden=(8,), outputs=3, activation="tanh", initial="orthogonal", is_image=True
)


def on_pictures(framework: str, is_joint: bool) -> Any:
    builder = builder_for(framework, 3)
    both = [PICTURES, dataclasses.replace(PICTURES, outputs=1)]
    actor, critic = builder.on_one_trunk(both) if is_joint else map(builder.network, both)
    return builder.ppo(actor, critic, NONE, distribution_named("categorical"))


@both
def test_networks_on_one_trunk_share_all_but_their_hidden_layers_and_heads(framework: str) -> None:
    weights = weights_of(on_pictures(framework, is_joint=True))
    shared = shared_names(weights)
    assert (len(weights), len(shared)) == (24, 8)
    assert all(other.startswith("actor.") and name.startswith("critic.") for name, other in shared.items())
    own = [sorted(array.shape) for name, array in weights.items() if name not in {*shared, *shared.values()}]
    assert own == [[8, 512], [8], [3, 8], [3], [8, 512], [8], [1, 8], [1]]


@both
def test_the_trunk_and_the_first_network_are_what_the_seed_builds_alone(framework: str) -> None:
    joint, apart = (weights_of(on_pictures(framework, is_joint)) for is_joint in (True, False))
    assert all(np.array_equal(joint[name], array) for name, array in apart.items() if name.startswith("actor."))
    assert shared_names(apart) == {}


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
