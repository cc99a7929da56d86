"""What was changed on an environment after it was made is told from its description."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from tensor_optix.pipeline.environment.settings import (
    LARGEST_ARRAY,
    LONGEST_LIST,
    MOST_SETTINGS,
    changed_settings,
    settings_of,
)


def cartpole() -> gym.Env:
    return gym.make("CartPole-v1")


def test_a_new_environment_has_not_changed_whatever_was_played_on_it() -> None:
    env = cartpole()
    assert changed_settings(settings_of(env), cartpole) == []
    env.reset(seed=3)
    env.step(0)
    assert changed_settings(settings_of(env), cartpole) == []


@pytest.mark.parametrize(
    ("name", "value"), [("gravity", 20.0), ("length", np.float32(2.0)), ("goal", np.ones(2)), ("levels", [1, (2, "a")])]
)
@pytest.mark.parametrize("is_played", [False, True])
def test_what_was_changed_is_named(name: str, value: Any, is_played: bool) -> None:
    env = cartpole()
    setattr(env.unwrapped, name, value)
    if is_played:
        env.reset(seed=0)
    assert changed_settings(settings_of(env), cartpole) == [name]


def test_the_order_of_a_dictionary_is_no_setting() -> None:
    one, other = cartpole(), cartpole()
    setattr(one.unwrapped, "config", {"a": {"b": 1, "c": 2}, "d": 3})  # noqa: B010 - of no known type
    setattr(other.unwrapped, "config", {"d": 3, "a": {"c": 2, "b": 1}})  # noqa: B010
    assert settings_of(one) == settings_of(other)
    setattr(other.unwrapped, "config", {"d": 3, "a": {"c": 2, "b": 3}})  # noqa: B010
    assert settings_of(one) != settings_of(other)


def test_environments_of_a_vector_are_looked_at_one_by_one() -> None:
    vector = SyncVectorEnv([cartpole, cartpole])
    assert changed_settings(settings_of(vector), cartpole) == []
    setattr(vector.envs[1].unwrapped, "gravity", 1.0)  # noqa: B010 - of no known type
    assert changed_settings(settings_of(vector), cartpole) == ["gravity"]


def test_of_anything_else_nothing_is_known() -> None:
    assert settings_of(object()) == settings_of(None) == {}


def test_what_is_no_plain_value_is_left_out_and_the_number_is_bounded() -> None:
    class Large(gym.Env):
        def __init__(self) -> None:
            self.table, self.prices = object(), np.zeros(LARGEST_ARRAY // 8 + 1)
            self.table_of_rows = list(range(LONGEST_LIST + 1))
            self.__dict__.update({f"x{i}": i for i in range(MOST_SETTINGS + 5)})

    found = settings_of(Large())
    assert len(found) == MOST_SETTINGS
    assert not any("table" in place or "prices" in place for place in found)
