"""Two environments that a policy without a memory cannot solve."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv

MASKED, MAZE = "MaskedCartPole-v0", "TMaze-v0"


class MaskedCartPole(CartPoleEnv):
    """CartPole whose velocities are not observed: they are to be concluded from two positions."""

    def __init__(self) -> None:
        super().__init__()
        box = self.observation_space
        assert isinstance(box, spaces.Box)  # noqa: S101 - for the type checker
        self.observation_space = spaces.Box(box.low[[0, 2]], box.high[[0, 2]], dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the cart's position and the pole's angle."""
        observation, info = super().reset(seed=seed, options=options)
        return observation[[0, 2]], info

    def step(self, action: Any) -> Any:
        """Push to the left or to the right."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation[[0, 2]], reward, terminated, truncated, info


class TMaze(gym.Env):
    """A corridor with a T at its end: which arm holds the prize is shown at its beginning only.

    Observation (3,): the cue -1 or 1 at the first step and 0 afterwards; 1 at the junction, else 0; 1, a constant.
    Actions: 0 = forward, 1 = the arm at -1, 2 = the arm at 1. At the junction the right arm is worth 1, the other one 0
    and both end the episode; elsewhere an arm is a wall, which costs 0.1 and the step. Without a memory, 0.5 is the
    most that a policy gets on average; with one it is 1.

    Source: Reinforcement Learning with Long Short-Term Memory (Bakker, 2001).

    Args:
        length: steps from the beginning to the junction.
    """

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, length: int = 20) -> None:
        self.length = length
        self._at = self._steps = self._arm = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the cue."""
        super().reset(seed=seed)
        self._at = self._steps = 0
        self._arm = int(self.np_random.integers(2))
        return self._look(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Go forward, or into an arm."""
        self._steps += 1
        if action != 0 and self._at == self.length:
            return self._look(), float(action == 1 + self._arm), True, False, {}
        reward = 0.0 if action == 0 and self._at < self.length else -0.1
        self._at = min(self._at + (action == 0), self.length)
        return self._look(), reward, False, self._steps >= 2 * self.length + 10, {}

    def _look(self) -> np.ndarray:
        cue = 2.0 * self._arm - 1.0 if self._at == 0 else 0.0
        return np.array([cue, float(self._at == self.length), 1.0], np.float32)


def register() -> None:
    """Register both, where they are not yet."""
    if MAZE not in gym.registry:
        gym.register(MAZE, "benchmarks._memory_worlds:TMaze")
        gym.register(MASKED, "benchmarks._memory_worlds:MaskedCartPole", max_episode_steps=500)
