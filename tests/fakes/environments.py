"""Environments with masks and structures, and agents that fit them."""

from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tests.helpers import NumpyAgent


class Identity(gym.Env):
    """Reward 1 for the action that the observation names, one-hot.

    Args:
        n_actions: how many there are.
        length: steps of an episode, which a time limit ends.
        n_observations: entries of an observation; None = as many as there are actions.
    """

    def __init__(self, n_actions: int, length: int, n_observations: int | None = None) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (n_observations or n_actions,), np.float32)
        self.action_space = spaces.Discrete(n_actions)
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(action == self.named)
        self.steps += 1
        return self._draw(), reward, False, self.steps == self.length, {}

    def _draw(self) -> np.ndarray:
        self.named = int(self.np_random.integers(self.action_space.n))
        return np.eye(self.observation_space.shape[0], dtype=np.float32)[self.named]


class Mined(gym.Env):
    """Two of four actions are allowed at step s of episode e; any other is fatal. Observation = (s, e).

    The masks of the first and of the last observation of an episode are its own: no other step has them.
    """

    observation_space = spaces.Box(0, 1e9, (2,), np.float32)
    action_space = spaces.Discrete(4)

    def __init__(self) -> None:
        self.now, self.episode = 0, 0

    def look(self) -> tuple[np.ndarray, dict]:
        return np.array([self.now, self.episode], np.float32), {"action_mask": allowed(self.now, self.episode)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.now, self.episode = 0, self.episode + 1
        return self.look()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        if not allowed(self.now, self.episode)[action]:
            raise RuntimeError(f"stepped on a mine: {action}")
        self.now += 1
        observation, info = self.look()
        return observation, 1.0, self.now == 5, False, info


def allowed(step: float, episode: float) -> np.ndarray:
    return np.eye(4, dtype=np.int8)[int(step + episode) % 4] | np.eye(4, dtype=np.int8)[int(step) % 4]


class Sapper(NumpyAgent):
    """Takes a random allowed action, greedily the first one; remembers whether it was asked greedily."""

    def __init__(self) -> None:
        super().__init__()
        asked: set[bool] = set()
        self.modes = lambda: asked  # in a function, since an agent is validated on a copy of its attributes

    def act(self, observation: Any) -> int:
        raise AssertionError("acted without its mask")

    def act_masked(self, observations: Any, action_masks: Any, *, deterministic: bool = False) -> np.ndarray:
        assert action_masks.dtype == bool
        assert len(action_masks) == len(observations)
        self.modes().add(deterministic)
        if deterministic:
            return np.argmax(action_masks, axis=1)
        return np.array([self.rng.choice(np.flatnonzero(mask)) for mask in action_masks])


class Structured(gym.Env):
    """Observation = {"step": number of the step, "kind": step mod 3}; three steps an episode; reward = action."""

    observation_space = spaces.Dict({"step": spaces.Box(0, 1e9, (1,), np.float32), "kind": spaces.Discrete(3)})
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.now = 0

    def observe(self) -> Any:
        return OrderedDict(step=np.array([self.now], np.float32), kind=np.int64(self.now % 3))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.now += 1
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.now += 1
        return self.observe(), float(action), self.now % 4 == 0, False, {}


class Replay(gym.Env):
    """Earns the row by action 1, and its opposite by action 0."""

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32), gym.spaces.Discrete(2)

    def __init__(self, rows: Any) -> None:
        self.rows, self.at = np.asarray(rows, float), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.at = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(self.rows[self.at]) * (1 if action else -1)
        self.at += 1
        return self._seen(), reward, False, self.at == len(self.rows) - 1, {}

    def _seen(self) -> np.ndarray:
        return np.array([self.rows[self.at]], np.float32)
