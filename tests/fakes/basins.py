"""A landscape with a local optimum, and agents that climb it: what an escape is to lead out of."""

from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.types import EpisodeData
from tests.fakes.remembering import follows
from tests.helpers import NumpyAgent

LOCAL, GLOBAL, TARGET = 5.0, 10.0, 9.5


class Basins(gym.Env):
    """One step an episode, whose reward is the action: the agent's place in the landscape."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Box(0.0, GLOBAL, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), float(np.asarray(action).reshape(())), True, False, {}


class LongBasins(Basins):
    """The same in episodes of three steps. Observation = (number of the episode, step in it)."""

    observation_space = gym.spaces.Box(0.0, 1e9, (2,), np.float64)
    begun = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        LongBasins.begun += 1
        self.number, self.now = LongBasins.begun, 0
        return np.array([self.number, self.now], np.float64), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now += 1
        _, reward, *_ = super().step(action)
        return np.array([self.number, self.now], np.float64), reward / 3, self.now == 3, False, {}


ENV, LONG_ENV = "tests/Basins-v0", "tests/LongBasins-v0"
gym.register(ENV, entry_point="tests.fakes.basins:Basins", reward_threshold=TARGET)
gym.register(LONG_ENV, entry_point="tests.fakes.basins:LongBasins", reward_threshold=TARGET)


class Climber(NumpyAgent):
    """Climbs to the local optimum, and beyond it while its entropy bonus is at least `freed_at`."""

    def __init__(self, freed_at: float = 0.04, **params: Any) -> None:
        super().__init__(learning_rate=0.5)
        self.params |= {"entropy_coef": 0.01, **params}
        self.freed_at = freed_at
        self.in_force: list[dict[str, Any]] = []

    @property
    def default_param_bounds(self) -> dict[str, tuple[float, float]]:
        return {"learning_rate": (0.01, 0.9), "entropy_coef": (0.0, 0.1)}

    def act(self, observation: Any) -> np.ndarray:
        return np.array([self.weight], np.float32)

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        return np.full((len(observations), 1), self.weight, np.float32)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.learned.append(episode_data.episode_id)
        self.in_force.append(dict(self.params))
        is_free = self.params["entropy_coef"] >= self.freed_at or self.weight > LOCAL + 1.0
        self.weight += self.params["learning_rate"] * ((GLOBAL if is_free else LOCAL) - self.weight)
        return {}


class RememberingClimber(Climber):
    """Its memory is the observation before, handed in and out; `follows` has whether it was of the same episode."""

    def __init__(self) -> None:
        super().__init__()
        self.follows: list[bool] = []

    def act_recurrent(
        self, observations: Any, memories: Any, *, action_masks: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, list[Any]]:
        self.follows += map(follows, observations, memories)
        return self.act_batch(observations), [row.tolist() for row in observations]
