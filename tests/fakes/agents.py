"""Agents that save a training state, and those that need none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData
from tests.helpers import NumpyAgent


class Follower(NumpyAgent):
    """Bets on a level, which learning moves towards what it has seen; `teach` may change that."""

    def __init__(self, teach: Callable[[int, float], float] = lambda window, level: level) -> None:
        super().__init__(learning_rate=0.5)
        self.teach = teach

    def act(self, observation: Any) -> float:
        return self.weight

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.learned.append(episode_data.episode_id)
        seen = self.teach(episode_data.episode_id, float(np.mean(episode_data.observations)))
        self.weight += self.params["learning_rate"] * (seen - self.weight)
        return {}

    def save_training_state(self, path: str) -> None:
        Path(path).write_text(json.dumps({"weight": self.weight, "params": self.params}))

    def load_training_state(self, path: str) -> None:
        state = json.loads(Path(path).read_text())
        self.weight, self.params = state["weight"], state["params"]


class RememberingAgent(NumpyAgent):
    """Its own training state: weight, hyper-parameters, generator; and a greedy policy, which draws nothing."""

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        if not deterministic:
            return super().act_batch(observations)
        return (np.sin(self.weight * np.asarray(observations).sum(axis=-1) * 50.0) > 0.0).astype(np.int64)

    def save_training_state(self, path: str) -> None:
        state = {"weight": self.weight, "params": self.params, "rng": self.rng.bit_generator.state}
        Path(path).write_text(json.dumps(state))

    def load_training_state(self, path: str) -> None:
        state = json.loads(Path(path).read_text())
        self.weight, self.params, self.rng.bit_generator.state = state["weight"], state["params"], state["rng"]
