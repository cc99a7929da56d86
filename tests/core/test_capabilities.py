"""What agents declare of the form in which they see and act, and what is refused as no such declaration."""

from typing import Any

import pytest

from tensor_optix import HyperparamSet, make_agent
from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.core.capabilities import ActsInRange, TakesFlatObservations, action_range_of, takes_flat
from tensor_optix.errors import ContractError
from tests.helpers import NumpyAgent


def declaring(**attributes: Any) -> NumpyAgent:
    return type("Declaring", (NumpyAgent,), attributes)()


def test_an_agent_that_declares_nothing_is_served_as_the_environment_is() -> None:
    assert action_range_of(NumpyAgent()) is None
    assert takes_flat(NumpyAgent()) is False
    assert not isinstance(NumpyAgent(), ActsInRange | TakesFlatObservations)


def test_what_is_declared_holds_for_the_greedy_view_too() -> None:
    agent = declaring(action_range=(0, 1), takes_flat_observations=True)
    for one in (agent, GreedyAgent(agent), GreedyAgent(GreedyAgent(agent))):
        assert action_range_of(one) == (0.0, 1.0)
        assert takes_flat(one) is True


@pytest.mark.parametrize("declared", [1.0, (1.0,), (1.0, -1.0), (0.0, float("inf")), (0.0, 0.0), "ab", (False, True)])
def test_a_malformed_range_is_refused_by_name(declared: Any) -> None:
    with pytest.raises(ContractError, match=r"Declaring\.action_range must be \(low, high\)"):
        action_range_of(declaring(action_range=declared))


@pytest.mark.parametrize("declared", [1, "yes", None])
def test_a_malformed_wish_is_refused_by_name(declared: Any) -> None:
    with pytest.raises(ContractError, match=r"Declaring\.takes_flat_observations must be True or False"):
        takes_flat(declaring(takes_flat_observations=declared))


@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize(
    ("env", "algorithm", "expected"),
    [
        ("Pendulum-v1", "sac", (-1.0, 1.0)),
        ("Pendulum-v1", "ppo", (-1.0, 1.0)),
        ("CartPole-v1", "ppo", None),
        ("CartPole-v1", "dqn", None),
    ],
)
def test_built_in_agents_declare_what_they_need(framework: str, env: str, algorithm: str, expected: Any) -> None:
    agent = make_agent(env, algorithm, framework, HyperparamSet({}), seed=0, net_arch=(4,))
    assert action_range_of(agent) == expected
    assert takes_flat(agent) is True
