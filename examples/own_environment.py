"""An environment of your own: `python -m examples.own_environment`.

A tank loses heat, and electricity costs more in the evening. The policy learns to heat before, and to save then.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix import RLOptimizer, TrainingReport, VectorBatchPipeline, make_agent

HOURS = 48
_COLDEST, _WARMEST, _WANTED = 30.0, 90.0, 50.0
"""Degrees."""


class Tank(gym.Env[np.ndarray, np.int64]):
    """Two days, hour by hour. Action 1 heats by 6 degrees.

    Observations: degrees above the wanted ones and the price, both around 1, and the hour as a point on a circle.
    """

    observation_space = gym.spaces.Box(-5.0, 5.0, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin at a random hour, with a random warmth."""
        super().reset(seed=seed)  # seeds self.np_random: an episode repeats by its seed
        self.hour, self.passed = int(self.np_random.integers(24)), 0
        self.degrees = float(self.np_random.uniform(45.0, 65.0))
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Heat or not for an hour; pay for it, and for water that is too cold."""
        cost = self._price() * float(action)
        self.degrees += 6.0 * float(action) - 0.05 * (self.degrees - 20.0) + float(self.np_random.normal(0.0, 0.3))
        self.degrees = float(np.clip(self.degrees, _COLDEST, _WARMEST))
        self.hour, self.passed = (self.hour + 1) % 24, self.passed + 1
        too_cold = max(_WANTED - self.degrees, 0.0)
        is_over = self.passed == HOURS
        return self._seen(), -cost - 0.2 * too_cold, False, is_over, {}  # a time limit: truncated, not terminated

    def _price(self) -> float:
        return 3.0 if 17 <= self.hour < 21 else 1.0

    def _seen(self) -> np.ndarray:
        angle = 2 * np.pi * self.hour / 24
        return np.array([(self.degrees - _WANTED) / 10, self._price() - 2, np.sin(angle), np.cos(angle)], np.float32)


def train(seed: int = 0, windows: int | None = None) -> TrainingReport:
    """Train on eight tanks at once; a class is enough, so that validation can make more."""
    agent = make_agent(Tank, "ppo", seed=seed)
    pipeline = VectorBatchPipeline([Tank] * 8, window_size=192, normalize_rewards=True)
    return RLOptimizer(agent, pipeline, checkpoint_dir="runs/tank", seed=seed, max_windows=windows).run()


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int)
    print(train(windows=parser.parse_args(argv).windows))


if __name__ == "__main__":
    main()
