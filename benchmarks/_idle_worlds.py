"""Environments that do nothing: what is left of a step is what collecting it costs."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

_CHOICE = spaces.Discrete(2)
IDLE: dict[str, tuple[spaces.Space[Any], spaces.Space[Any]]] = {
    "benchmarks/IdleBox-v0": (spaces.Box(-1.0, 1.0, (4,), np.float32), _CHOICE),
    "benchmarks/IdleRobot-v0": (
        spaces.Box(-np.inf, np.inf, (17,), np.float64),
        spaces.Box(-1.0, 1.0, (6,), np.float32),
    ),
    "benchmarks/IdleDiscrete-v0": (spaces.Discrete(16), _CHOICE),
    "benchmarks/IdleTuple-v0": (spaces.Tuple([spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2)]), _CHOICE),
    "benchmarks/IdleMultiDiscrete-v0": (spaces.MultiDiscrete([5, 4, 3]), _CHOICE),
    "benchmarks/IdleDict-v0": (
        spaces.Dict({"at": spaces.Box(-1.0, 1.0, (3,), np.float32), "mode": spaces.Discrete(4)}),
        _CHOICE,
    ),
}
"""Observation space and action space, by id."""
LENGTH = 500


class Idle(gym.Env[Any, Any]):
    """Observes the same each time; its episodes are cut after 500 steps.

    Args:
        name: its id in `IDLE`.
    """

    def __init__(self, name: str) -> None:
        self.observation_space, self.action_space = IDLE[name]
        self.observation_space.seed(0)
        self._seen, self._steps = self.observation_space.sample(), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._steps = 0
        return self._seen, {}

    def step(self, action: object) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Do nothing."""
        self._steps += 1
        return self._seen, 1.0, False, self._steps == LENGTH, {}


def register() -> None:
    """Make them known to Gymnasium."""
    for name in IDLE:
        if name not in gym.registry:
            gym.register(
                name,
                "benchmarks._idle_worlds:Idle",
                disable_env_checker=True,
                order_enforce=False,
                kwargs={"name": name},
            )
