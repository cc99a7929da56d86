"""Environments that do next to nothing but observe: what is left of a step is what its vector costs."""

import gymnasium as gym
import numpy as np

SPACES = {
    "100 B": gym.spaces.Box(-1.0, 1.0, (25,), np.float32),
    "10 kB": gym.spaces.Box(-1.0, 1.0, (2_500,), np.float32),
    "28 kB, images": gym.spaces.Box(0, 255, (4, 84, 84), np.uint8),
}
"""Observation spaces, by the name that the results give them."""
LENGTH = 500


class Watched(gym.Env):
    """Observes one of two arrays in turn; its episodes are cut after 500 steps.

    Args:
        size: a name in `SPACES`.
    """

    action_space = gym.spaces.Discrete(4)

    def __init__(self, size: str) -> None:
        self.observation_space = SPACES[size]
        self._seen = [self.observation_space.sample(), self.observation_space.sample()]
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return self._seen[0], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Observe the other array."""
        self._steps += 1
        return self._seen[self._steps % 2], float(action), False, self._steps == LENGTH, {}
