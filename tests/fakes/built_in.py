"""Small built-in agents of every algorithm and both frameworks."""

from typing import Any

import pytest

from tensor_optix import make_agent

AGENTS = [("CartPole-v1", "ppo"), ("CartPole-v1", "dqn"), ("Pendulum-v1", "sac")]


both_frameworks = pytest.mark.parametrize("framework", ["torch", "tf"])
torch_now_keras_in_the_soak = pytest.mark.parametrize(
    "framework", ["torch", pytest.param("tf", marks=pytest.mark.slow)]
)
"""For what one recipe does over both backends, where XLA would compile for most of the test's time."""


SMALL = {"replay_capacity": 1000}


def agent_of(env: str, algorithm: str, framework: str, seed: int = 0) -> Any:
    return make_agent(env, algorithm, framework, SMALL if algorithm != "ppo" else None, seed=seed, net_arch=(8,))
