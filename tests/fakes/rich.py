"""Environments whose observations and actions are structures, and what compares them."""

from typing import Any

import numpy as np
from gymnasium import spaces

from tests.fakes.failing import Walking


class Rich(Walking):
    """Observes and takes structures, and its infos come and go."""

    observation_space = spaces.Dict(
        {
            "place": spaces.Box(-1.0, 1e9, (2,), np.float32),
            "kind": spaces.Tuple([spaces.Discrete(9), spaces.MultiBinary(2)]),
        }
    )
    action_space = spaces.Dict({"go": spaces.Discrete(5), "turn": spaces.Box(-1.0, 1.0, (2,), np.float32)})

    def observe(self) -> Any:
        place = np.array([self.number, self.steps], np.float32)
        return {"place": place, "kind": (self.steps % 9, np.array([self.number % 2, 1], np.int8))}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        *returned, _ = super().step(int(action["go"]))
        info = {"turn": action["turn"], "deep": {"steps": self.steps}} if self.steps % 2 else {"odd": "no"}
        return (*returned, info)


class Texts(Walking):
    observation_space = spaces.Text(20)

    def observe(self) -> Any:
        return f"{self.episode}, {self.steps}"


def flat(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: flat(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [flat(part) for part in value]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, [flat(part) for part in value.tolist()]]
    return value
