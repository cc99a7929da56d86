"""Small environments with a known answer, and the command line with them registered.

`python -m benchmarks._worlds train benchmarks/Chain20-v0` is `tensor-optix train`, and so on for each command.
"""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

BANDIT, CHAIN, DEEP_CHAIN = "benchmarks/Bandit-v0", "benchmarks/Chain20-v0", "benchmarks/DeepChain20-v0"
PREFIX = "benchmarks/"
ARMS = (0.1, 0.3, 0.9, 0.5, 0.2)
"""Chance of a reward of 1 by each arm of the bandit."""
LEFT, RIGHT = 0, 1


class Chain(gym.Env[np.int64, np.int64]):
    """A row of states. The only reward, 1, ends the episode at the far end.

    Args:
        length: number of states; an episode starts in the first.
        falls_back: a step to the left leads back to the first state, not to the one before: uniformly random actions
            reach the end once in 2^(length - 1) tries, which is as good as never.
    """

    def __init__(self, length: int = 20, *, falls_back: bool = False) -> None:
        self.observation_space = spaces.Discrete(length)
        self.action_space = spaces.Discrete(2)
        self._last, self._falls_back, self._at = length - 1, falls_back, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Start in the first state."""
        super().reset(seed=seed, options=options)
        self._at = 0
        return np.int64(self._at), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Move; 1 is to the right."""
        if action == RIGHT:
            self._at += 1
        else:
            self._at = 0 if self._falls_back else max(self._at - 1, 0)
        is_there = self._at == self._last
        return np.int64(self._at), float(is_there), is_there, False, {}


class Bandit(gym.Env[np.ndarray, np.int64]):
    """Episodes of one step: an arm is chosen and pays 1 or 0."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Discrete(len(ARMS))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the same observation each time."""
        super().reset(seed=seed, options=options)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pay by chance, and end."""
        reward = float(self.np_random.random() < ARMS[action])
        return np.zeros(1, np.float32), reward, True, False, {}


def register() -> None:
    """Make the environments known to Gymnasium."""
    if BANDIT not in gym.registry:
        gym.register(BANDIT, "benchmarks._worlds:Bandit")
        gym.register(CHAIN, "benchmarks._worlds:Chain", max_episode_steps=100)
        gym.register(DEEP_CHAIN, "benchmarks._worlds:Chain", max_episode_steps=40, kwargs={"falls_back": True})


if __name__ == "__main__":
    from tensor_optix.cli import main

    register()
    sys.exit(main())
