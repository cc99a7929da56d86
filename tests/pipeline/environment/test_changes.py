"""Which attributes of an environment are settings that were changed, and which are state."""

import random
from collections import deque
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.pipeline.environment.changes import Fresh, apply_changes, attributes_of, layers_of, time_limit_of


class Side(Enum):
    LEFT, RIGHT = 1, 2


@dataclass
class Settings:
    speed: float = 1.0


@dataclass(frozen=True)
class Fixed:
    speed: float = 1.0


class Table:
    """Compares as tables do."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __eq__(self, other: object) -> Any:
        return [True]

    __hash__ = None  # type: ignore[assignment]

    def equals(self, other: "Table") -> bool:
        return self.values == other.values


def helper(x: int) -> int:
    return x


class Varied(gym.Env):
    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.whole, self.text, self.side, self.missing = 1, "a", Side.LEFT, float("nan")
        self.array, self.nested, self.queue = np.zeros(2), {"a": [1, (2, 3)]}, deque([1])
        self.names, self.table, self.fixed = {"a"}, Table([1]), Fixed()
        self.settings, self.space_like = Settings(), SimpleNamespace(speed=1.0)
        self.function, self.part, self.kind = helper, partial(helper, 1), int
        self.rng, self.chance, self.screen = np.random.default_rng(), random.Random(), None
        self.drawn = random.Random().random()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place, self.thing = 0.0, object()
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place += 1.0
        return np.zeros(1, np.float32), 0.0, False, False, {}


def changed(env: gym.Env) -> dict[str, object]:
    return {".".join(map(str, path[1:])): value for path, value in Fresh(Varied).changes(attributes_of(env)).items()}


def test_a_new_environment_has_no_changes() -> None:
    assert changed(Varied()) == {}


def test_neither_has_one_that_was_played() -> None:
    env = Varied()
    env.reset(seed=5)
    env.step(0)
    env.screen = "a window"  # type: ignore[assignment]
    assert changed(env) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 2),
        ("whole", 1.5),
        ("text", "b"),
        ("side", Side.RIGHT),
        ("missing", 0.0),
        ("array", np.ones(2)),
        ("array", np.zeros(3)),
        ("nested", {"a": [1, (2, 4)]}),
        ("nested", {"b": 1}),
        ("queue", deque([2])),
        ("names", {"b"}),
        ("table", Table([2])),
        ("fixed", Fixed(2.0)),
        ("new", 3),
    ],
)
def test_a_changed_value_is_found_and_set_on_a_copy(name: str, value: Any) -> None:
    env = Varied()
    setattr(env, name, value)
    found = Fresh(Varied).changes(attributes_of(env))
    assert list(found) == [(0, name)]
    copy = getattr(apply_changes(Varied(), found), name)
    assert Fresh(Varied).changes({(0, name): copy}).keys() == found.keys()
    assert copy is value or type(copy) is type(value)


@pytest.mark.parametrize("name", ["settings", "space_like"])
def test_a_value_in_an_object_is_set_in_that_of_the_copy(name: str) -> None:
    env = Varied()
    getattr(env, name).speed = 2.0
    assert changed(env) == {f"{name}.speed": 2.0}
    copy: Any = apply_changes(Varied(), Fresh(Varied).changes(attributes_of(env)))
    assert getattr(copy, name).speed == 2.0
    assert getattr(copy, name) is not getattr(env, name)


@pytest.mark.parametrize(
    ("name", "value"), [("function", lambda x: x), ("part", partial(helper, 2)), ("kind", float), ("step", lambda a: a)]
)
def test_what_cannot_be_set_on_a_copy_is_named(name: str, value: Any) -> None:
    env = Varied()
    setattr(env, name, value)
    with pytest.raises(ValueError, match=f"'{name}' was changed after it was made"):
        changed(env)


def test_an_environment_that_cannot_be_played_yet_has_its_changes() -> None:
    class Broken(Varied):
        def reset(self, **_: Any) -> Any:
            raise RuntimeError("not connected")

    env = Broken()
    env.whole = 5
    assert Fresh(Broken).changes(attributes_of(env))[0, "whole"] == 5


def test_a_large_environment_is_compared_in_part() -> None:
    env = Varied()
    vars(env).update({f"x{i}": i for i in range(20_000)})
    assert len(attributes_of(env)) == 10_000


def test_objects_that_hold_each_other_come_to_an_end() -> None:
    env: Any = Varied()
    env.settings.owner = SimpleNamespace(settings=env.settings)
    assert attributes_of(env)


def test_wrappers_that_change_nothing_are_no_layers() -> None:
    env = gym.make("CartPole-v1")
    assert [type(layer).__name__ for layer in layers_of(env)] == ["TimeLimit", "CartPoleEnv"]


def test_the_time_limit_of_an_environment_is_the_shortest_of_its_layers() -> None:
    assert time_limit_of(gym.make("CliffWalking-v1")) is None
    assert time_limit_of(gym.make("CartPole-v1")) == 500
    assert time_limit_of(gym.wrappers.TimeLimit(gym.make("CartPole-v1"), 20)) == 20
    assert time_limit_of(gym.make("CartPole-v1", max_episode_steps=-1)) is None
