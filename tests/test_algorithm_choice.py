from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix._algorithm_choice import other_algorithm, resolve_algorithm
from tensor_optix.errors import InvalidArgumentError

VECTOR = spaces.Box(-1.0, 1.0, (6,), np.float32)
TABLE = spaces.Discrete(16)


class Spaces(gym.Env):
    """An environment of the given spaces, which nobody steps."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space


@pytest.mark.parametrize(
    ("observations", "actions", "algorithm"),
    [
        (VECTOR, spaces.Box(-1.0, 1.0, (2,)), "sac"),
        (VECTOR, spaces.Box(0.0, np.inf, (1,)), "ppo"),
        (VECTOR, spaces.Box(-3.4e38, 3.4e38, (1,)), "ppo"),
        (VECTOR, spaces.Box(-1e7, 1e7, (1,)), "ppo"),
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), spaces.Box(-1.0, 1.0, (2,)), "ppo"),
        (VECTOR, spaces.Discrete(2), "ppo"),
        (TABLE, spaces.Box(-1.0, 1.0, (2,)), "sac"),
        (TABLE, spaces.Discrete(4), "ppo"),
    ],
    ids=str,
)
def test_the_spaces_choose(observations: Any, actions: Any, algorithm: str) -> None:
    assert resolve_algorithm("auto", Spaces(observations, actions)) == algorithm


@pytest.mark.parametrize(
    ("env_id", "kwargs", "algorithm"),
    [
        ("CliffWalking-v1", {}, "dqn"),
        ("CliffWalking-v1", {"max_episode_steps": 200}, "ppo"),
        ("FrozenLake-v1", {}, "ppo"),
        ("Taxi-v4", {}, "ppo"),
        ("Blackjack-v1", {}, "ppo"),
        ("CartPole-v1", {"max_episode_steps": -1}, "ppo"),
    ],
)
def test_numbered_observations_and_actions_without_a_time_limit_are_for_dqn(
    env_id: str, kwargs: dict[str, Any], algorithm: str
) -> None:
    with gym.make(env_id, **kwargs) as env:
        assert resolve_algorithm("auto", env) == algorithm


def test_a_limit_around_it_is_one() -> None:
    env = gym.wrappers.TimeLimit(gym.make("CliffWalking-v1"), 100)
    assert resolve_algorithm("auto", env) == "ppo"


def test_what_was_chosen_stays_and_what_is_none_is_refused_with_the_choices() -> None:
    env = Spaces(TABLE, spaces.Discrete(4))
    assert resolve_algorithm("dqn", env) == "dqn"
    with pytest.raises(InvalidArgumentError, match=r"algorithm must be 'auto' or one of \('ppo', .*, but got 'a2c'"):
        resolve_algorithm("a2c", env)


@pytest.mark.parametrize(
    ("algorithm", "observations", "actions", "expected"),
    [
        ("ppo", VECTOR, spaces.Discrete(2), "dqn"),
        ("ppo", VECTOR, spaces.Box(-1.0, 1.0, (2,)), "sac"),
        ("ppo", VECTOR, spaces.Box(0.0, np.inf, (1,)), None),
        ("ppo", VECTOR, spaces.Box(0, 3, (1,), np.int64), None),
        ("ppo", spaces.Box(0, 255, (84, 84, 3), np.uint8), spaces.Box(-1.0, 1.0, (2,)), None),
        ("ppo", VECTOR, spaces.MultiDiscrete([2, 2]), None),
        ("recurrent_ppo", VECTOR, spaces.Discrete(2), None),
        ("dqn", VECTOR, spaces.Discrete(2), "ppo"),
        ("sac", VECTOR, spaces.Box(-1.0, 1.0, (2,)), "ppo"),
    ],
)
def test_the_other_algorithm_is_one_that_the_spaces_allow(
    algorithm: str, observations: spaces.Space, actions: spaces.Space, expected: str | None
) -> None:
    assert other_algorithm(algorithm, Spaces(observations, actions)) == expected
