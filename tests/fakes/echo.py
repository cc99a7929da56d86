"""An environment that remembers what it gave and got, and an agent that remembers what it saw and said."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.support.trees import copied, leaves, rows
from tests.helpers import NumpyAgent

SEEN: list[Any] = []
SAID: list[Any] = []
"""What `Own` saw and said, which a copy of an agent's memory does not roll back."""


class Echo(gym.Env[Any, Any]):
    """Draws observations of a space, ends each third step in turn by an end and by a time limit, and pays 1.0."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], seed: int = 0) -> None:
        self.observation_space, self.action_space = copy.deepcopy(observation_space), action_space
        self.observation_space.seed(seed)
        self.steps: list[tuple[Any, Any, Any]] = []
        """(observation, action, next observation) of each."""
        self.now: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.now = self.observation_space.sample()
        return copied(self.now), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        following = self.observation_space.sample()
        self.steps.append((self.now, copied(action), following))
        self.now = following
        ends, number = len(self.steps) % 3 == 0, len(self.steps) // 3
        return copied(following), 1.0, ends and number % 2 == 0, ends and number % 2 == 1, {}


class Own(NumpyAgent):
    """Six methods; its actions are drawn from the environment's action space, and are of its very types."""

    def __init__(self, action_space: spaces.Space[Any], seed: int = 1) -> None:
        super().__init__()
        self.space = copy.deepcopy(action_space)
        self.space.seed(seed)
        SEEN.clear()
        SAID.clear()

    def act(self, observation: Any) -> Any:
        action = self.space.sample()
        SEEN.append(copied(observation))
        SAID.append(copied(action))
        return action


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal: dicts with the same names, tuples of the same length, arrays of one shape."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(is_same(one[n], other[n]) for n in one)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(is_same, one, other))
    return np.shape(one) == np.shape(other) and bool(np.array_equal(one, other))


def assert_records(window: Any, steps: Any, offset: int = 0) -> None:
    """Assert that the rows of a window, from `offset` on, are an environment's steps."""
    for name, part in (("observations", 0), ("actions", 1), ("next_observations", 2)):
        found = rows(getattr(window, name))[offset : offset + len(steps)]
        assert all(map(is_same, found, [step[part] for step in steps])), name
        assert len(found) == len(steps)


def kinds(tree: Any) -> str:
    """The kinds of a tree's numbers, such as "if"."""
    return "".join(np.asarray(leaf).dtype.kind for leaf in leaves(tree))
