"""Agents with a memory, in all ways that the contract knows, which find out when it is another episode's."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from tests.helpers import NumpyAgent


class Numbered(gym.Env):
    """Observation = (number of the episode, which no other one has, step in it); 3 to 7 steps; reward 1."""

    observation_space = gym.spaces.Box(0, 1e9, (2,), np.float64)
    action_space = gym.spaces.Discrete(2)
    begun = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        Numbered.begun += 1
        self.number, self.now = Numbered.begun, 0
        return self.look(), {}

    def look(self) -> np.ndarray:
        return np.array([self.number, self.now], np.float64)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now += 1
        is_over = self.now >= 3 + self.number % 5
        return self.look(), 1.0, is_over and self.number % 2 == 0, is_over and self.number % 2 == 1, {}


gym.register("Numbered-v0", entry_point=Numbered)


def follows(observation: Any, memory: Any) -> bool:
    """Whether a memory is of the step before, or None at an episode's first step."""
    if observation[1] == 0:
        return memory is None
    return memory is not None and tuple(memory) == (observation[0], observation[1] - 1)


class Witness(NumpyAgent):
    """Calls `note` with whether its memory followed, for each action. A function is no state: it is never copied."""

    def __init__(self, note: Callable[[bool], object]) -> None:
        super().__init__()
        self.note = note


class Handing(Witness):
    """Its memory is handed in and out."""

    def act(self, observation: Any) -> int:
        raise AssertionError("acted without its memory")

    def act_recurrent(
        self, observations: Any, memories: Sequence[Any], *, action_masks: Any = None, deterministic: bool = False
    ) -> tuple[Any, list[Any]]:
        assert len(observations) == len(memories)
        for observation, memory in zip(observations, memories, strict=True):
            self.note(follows(observation, memory))
        return np.zeros(len(memories), np.int64), [np.array(observation) for observation in observations]


class Keeping(Witness):
    """Its memory is an attribute that may be exchanged; it is changed in place, as careless agents do."""

    def __init__(self, note: Callable[[bool], object]) -> None:
        super().__init__(note)
        self.episode_memory: list[float] = []

    def begin_episode(self) -> None:
        self.episode_memory.clear()

    def act(self, observation: Any) -> int:
        self.note(follows(observation, self.episode_memory or None))
        self.episode_memory[:] = observation
        return 0


class Told(Witness):
    """Its memory is its own affair, but it is told where an episode begins."""

    def __init__(self, note: Callable[[bool], object]) -> None:
        super().__init__(note)
        self.last: Any = None

    def begin_episode(self) -> None:
        self.last = None

    def act(self, observation: Any) -> int:
        self.note(follows(observation, self.last))
        self.last = np.array(observation)
        return 0


class Undeclared(Witness):
    """It says nothing of its memory, and finds the starts of episodes by itself."""

    def __init__(self, note: Callable[[bool], object]) -> None:
        super().__init__(note)
        self.last: Any = None

    def act(self, observation: Any) -> int:
        self.note(observation[1] == 0 or follows(observation, self.last))
        self.last = np.array(observation)
        return 0


class UndeclaredBatch(Undeclared):
    """Acts on several rows, with a memory that is changed in place, and says nothing of it."""

    def __init__(self, note: Callable[[bool], object]) -> None:
        super().__init__(note)
        self.rows = np.full((64, 2), -1.0)

    def act(self, observation: Any) -> int:
        return int(self.act_batch([observation])[0])

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        for row, observation in enumerate(observations):
            self.note(observation[1] == 0 or follows(observation, self.rows[row]))
            self.rows[row] = observation
        return np.zeros(len(observations), np.int64)
