"""Agents and points of any size, for what disks and other processes do to a checkpoint directory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tests.helpers import NumpyAgent


class BigAgent(NumpyAgent):
    """Has as many weights as it is told."""

    size = 64

    def save_weights(self, path: str) -> None:
        np.save(path + ".npy", np.full(self.size, self.weight))

    def load_weights(self, path: str) -> None:
        self.loaded.append(path)
        self.weight = float(np.load(path + ".npy")[0])


def save_big(registry: CheckpointRegistry, score: float, window_id: int = 0) -> PolicySnapshot:
    agent = BigAgent()
    agent.weight = score
    return registry.save(agent, EvalMetrics(score, {"é": 1e300}, window_id), window_id)


def write_agent(value: float) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "agent.npy", np.full(64, value))


def content(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
