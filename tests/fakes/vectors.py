"""Environments that count their steps, vectors of them, and an agent whose actions tell what it has seen."""

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from tensor_optix import VectorBatchPipeline
from tensor_optix.core.types import EpisodeData
from tests.helpers import NumpyAgent


class CountingEnv(gym.Env):
    """Observation = (number of the environment, its global step); reward = action; ends after 3 to 9 steps.

    Every other episode is cut by a time limit, so that both ends occur.
    """

    observation_space = gym.spaces.Box(-1.0, 1e9, (2,), np.float64)
    action_space = gym.spaces.Discrete(5)

    def __init__(self, number: int) -> None:
        self.number = number
        self.steps = self.episodes = self.left = 0

    def observe(self) -> np.ndarray:
        return np.array([self.number, self.steps], np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = 3 + (self.number * 5 + self.episodes) % 7
        self.episodes += 1
        self.steps += 1
        return self.observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        self.left -= 1
        ended, cut = self.left == 0, self.episodes % 2 == 0
        return self.observe(), float(action), ended and not cut, ended and cut, {"step": self.steps}


class ByStepAgent(NumpyAgent):
    """Its action depends on the observation alone, so that transitions tell which observation they came from."""

    def act(self, observation: Any) -> int:
        return int(observation[0] * 3 + observation[1]) % 5

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        return (observations[:, 0] * 3 + observations[:, 1]).astype(np.int64) % 5


def makers(n: int) -> list[Any]:
    return [lambda i=i: CountingEnv(i) for i in range(n)]


def vector(n: int, mode: AutoresetMode, is_async: bool) -> VectorEnv:
    return (AsyncVectorEnv if is_async else SyncVectorEnv)(makers(n), autoreset_mode=mode)


def windows_of(pipeline: VectorBatchPipeline, n: int) -> list[EpisodeData]:
    found = list(itertools.islice(pipeline.episodes(), n))
    pipeline.teardown()
    return found
