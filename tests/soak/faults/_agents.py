"""Agents whose weights are all one number, so that a snapshot shows by itself whether it is whole."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet

try:
    from tensor_optix.core.storage.resume_ring import ResumeRing  # pyright: ignore[reportMissingImports]
except ImportError:
    ResumeRing = None

SIZE = 1500
"""Weights of a numpy agent: their file is longer than a page and shorter than two."""


class FilledAgent(BaseAgent):
    """A numpy agent; its files are one safetensors and one JSON file, neither of them synced."""

    def __init__(self, size: int = SIZE) -> None:
        self.weights = np.zeros(size, np.float32)
        self.side = 0

    def fill(self, value: int) -> None:
        """Set all weights to one value."""
        self.weights[:] = value
        self.side = value

    def value(self) -> int:
        """Return the one value of all weights."""
        return one_value([self.weights, np.array(self.side)])

    def act(self, observation: Any) -> int:
        return int(self.weights[0])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({"learning_rate": 0.1})

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        pass

    def save_weights(self, path: str) -> None:
        Path(path + ".safetensors").write_bytes(save({"weights": self.weights}))
        Path(path + ".json").write_text(json.dumps({"side": self.side}))

    def load_weights(self, path: str) -> None:
        weights = load(Path(path + ".safetensors").read_bytes())["weights"]
        self.weights, self.side = weights, json.loads(Path(path + ".json").read_text())["side"]


class BuiltInFilled(GreedyAgent):
    """A built-in agent, filled with one value; it is saved and loaded, and never learns."""

    def __init__(self, framework: str) -> None:
        from tensor_optix.factory import make_agent

        super().__init__(make_agent("CartPole-v1", framework=framework, seed=0, net_arch=(32,)))
        self._built_in: Any = self.agent

    def fill(self, value: int) -> None:
        """Set all weights to one value."""
        weights = self._weights()
        self._built_in._backend.set_weights(
            self._built_in._models, {key: np.full_like(array, value) for key, array in weights.items()}
        )

    def value(self) -> int:
        """Return the one value of all weights."""
        return one_value(self._weights().values())

    def _weights(self) -> Mapping[str, np.ndarray]:
        return self._built_in._backend.weights(self._built_in._models)


def one_value(arrays: Any) -> int:
    """Return the value that all arrays are filled with; -1 where there is more than one."""
    values = {float(value) for array in arrays for value in (np.min(array), np.max(array))}
    return int(values.pop()) if len(values) == 1 else -1


def point_writer(value: int) -> Any:
    """Return what writes the files of a resume point with this value."""

    def write(folder: Path) -> None:
        agent = FilledAgent()
        agent.fill(value)
        agent.save_weights(str(folder / "agent"))

    return write


def read_point(directory: Path) -> int | None:
    """Return the value of the newest resume point; -1 where its files do not hold what its state says."""
    if ResumeRing is None or not directory.exists():
        return None
    newest = ResumeRing(directory).newest()
    if newest is None:
        return None
    agent = FilledAgent()
    agent.load_weights(str(newest.folder / "agent"))
    return agent.value() if newest.state["value"] == agent.value() else -1


def make(kind: str, size: int = SIZE) -> Any:
    """Make an agent of a kind: "numpy", "torch" or "tf"."""
    return FilledAgent(size) if kind == "numpy" else BuiltInFilled(kind)


def counting(start: int = 1) -> Iterator[int]:
    """Yield the values to fill with, none of them the zero that a lost page holds."""
    while True:
        yield start
        start += 1
