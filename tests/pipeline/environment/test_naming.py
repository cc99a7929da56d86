"""The name of an environment: another process makes the same by it, or there is none."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.naming import name_of, name_of_each
from tests.fakes.environments import Structured


def made_here() -> gym.Env:
    return gym.make("CartPole-v1")


class Unrecorded(gym.Wrapper):
    """A wrapper that does not record its arguments."""


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ("CartPole-v1", ("CartPole-v1", {})),
        ("my_env.py:MyEnv", ("my_env.py:MyEnv", {})),
        (gym.make("CartPole-v1"), ("CartPole-v1", {})),
        (gym.make("Pendulum-v1", g=5.0, max_episode_steps=7), ("Pendulum-v1", {"g": 5.0, "max_episode_steps": 7})),
        (Structured, ("tests.fakes.environments:Structured", {})),
        (made_here, (f"{__name__}:made_here", {})),
        (lambda: gym.make("CartPole-v1"), (None, {})),
        (Structured(), (None, {})),
        (gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), np.float32(-1), np.float32(1)), (None, {})),
        (Unrecorded(gym.make("CartPole-v1")), (None, {})),
        (gym.make("CartPole-v1").unwrapped, (None, {})),
    ],
)
def test_a_name_is_that_of_the_same_environment(env: Any, name: tuple[str | None, Any]) -> None:
    found = name_of(env)
    assert found == name
    place, arguments = found
    if place is not None and not place.endswith(".py:MyEnv"):
        make_environment(place, arguments).close()


def test_environments_of_a_vector_have_one_name_or_none() -> None:
    assert name_of_each(("CartPole-v1", 3)) == ("CartPole-v1", {})
    assert name_of_each([made_here] * 2) == (f"{__name__}:made_here", {})
    assert name_of_each([made_here, Structured]) == (None, {})
    assert name_of_each(gym.make_vec("CartPole-v1", 1)) == (None, {})
