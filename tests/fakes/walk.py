"""An environment that adds up its actions."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Walk(gym.Env[Any, Any]):
    """Adds up its actions from a start that its seed decides, until the sum is 10; what is given as bad is NaN."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(4)

    def __init__(self, bad_resets: int = 0, bad_at: float | None = None) -> None:
        self.bad_resets, self.bad_at = bad_resets, bad_at
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.place = float(self.np_random.random())
        if self.bad_resets:
            self.bad_resets -= 1
            return np.full(1, math.nan, np.float32), {}
        return self.seen(), {"start": self.place}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place += float(action)
        reward = math.nan if self.bad_at is not None and self.place >= self.bad_at else 1.0
        return self.seen(), reward, self.place >= 10.0, False, {}

    def seen(self) -> np.ndarray:
        return np.array([self.place], np.float32)
