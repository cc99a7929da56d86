"""What the attacks and the fuzzers aim at: the real loaders over a small agent, whose state can be compared."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.adapters.saving.weights import check_weights
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import Hyperparam, HyperparamTable
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot

TABLE = HyperparamTable("Small", {"learning_rate": Hyperparam(default=0.1, low=0.0, high=1.0, doc="Step size")})


class NumpyBackend:
    """Models are dictionaries of arrays, and an optimizer is one with a step size."""

    name = "numpy"

    def __init__(self) -> None:
        self.programs: dict[str, str] = {}

    def weights(self, models: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {f"{n}.{path}": array.copy() for n, model in models.items() for path, array in model.items()}

    def set_weights(self, models: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
        targets = {f"{n}.{path}": array for n, model in models.items() for path, array in model.items()}
        check_weights({name: array.shape for name, array in targets.items()}, weights)
        for name, array in targets.items():
            array[...] = weights[name]

    def trainable(self, models: Mapping[str, Any]) -> list[str]:
        return list(self.weights(models))

    def constants(self, models: Mapping[str, Any]) -> list[str]:
        return []

    def optimizer_state(self, optimizer: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        moments = {f"{i}.m": array.copy() for i, array in enumerate(optimizer["moments"])}
        return moments, {"lr": optimizer["lr"], "betas": [0.9, 0.999], "kind": "Momentum"}

    def expected_moments(self, optimizer: Any) -> dict[str, np.ndarray]:
        return self.optimizer_state(optimizer)[0]

    def restart_optimizer(self, optimizer: Any) -> None:
        for array in optimizer["moments"]:
            array[...] = 0.0

    def plain_name(self, name: str) -> str:
        return name

    def set_optimizer_state(
        self, optimizer: Any, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]
    ) -> None:
        for i, array in enumerate(optimizer["moments"]):
            array[...] = arrays[f"{i}.m"]
        optimizer["lr"] = float(settings["lr"])

    def set_learning_rates(self, optimizer: Any, learning_rates: Sequence[float]) -> None:
        (optimizer["lr"],) = learning_rates

    def seed(self, models: Mapping[str, Any], seed: int | None) -> None:
        """Models draw from nothing."""

    def random_state(self, models: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {}

    def set_random_state(self, models: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
        assert not state

    def learning_rates(self, optimizer: Any) -> list[float]:
        return [optimizer["lr"]]


class SmallAgent(BuiltInAgent, BaseAgent):
    """A built-in agent of 23 numbers."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        model = {
            "w": rng.normal(size=(3, 4)).astype(np.float32),
            "b": rng.normal(size=4),
            "n": np.array([1, 2], np.int64),
            "on": np.array([True, False]),
        }
        optimizer = {"lr": 0.1, "moments": [np.ones((3, 4), np.float32)]}
        super().__init__(NumpyBackend(), TABLE, {"model": model}, {"adam": optimizer}, ("act", "learn"), seed)  # type: ignore[arg-type]
        self.set_hyperparams(HyperparamSet({}))

    def act(self, observation: Any) -> int:
        return 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def fingerprint(self) -> bytes:
        """All that the agent is, as bytes."""
        moments, settings = self._backend.optimizer_state(self._optimizers["adam"])
        arrays = [*self._backend.weights(self._models).values(), *moments.values()]
        states = [generator.bit_generator.state for generator in self._generators.values()]
        return b"".join(a.tobytes() for a in arrays) + repr((settings, states, self._hyperparams)).encode()


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the arrays' bytes of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Any, arrays: bytes) -> bytes:
    """Return a safetensors file of a header, a value or its text, and the arrays' bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + arrays


def saved(folder: Path) -> tuple[bytes, bytes]:
    """Return the files of a `SmallAgent`'s weights and of its training state."""
    agent = SmallAgent(1)
    agent.save_weights(str(folder / "w"))
    agent.save_training_state(str(folder / "t"))
    return (folder / "w.safetensors").read_bytes(), (folder / "t.safetensors").read_bytes()


SNAPSHOT = PolicySnapshot(
    snapshot_id="000003",
    sequence=3,
    window_id=9,
    eval_metrics=EvalMetrics(1.5, {"episodes": 2.0, "score_std_err": 0.1}, 9),
    hyperparams=HyperparamSet({"learning_rate": 0.1, "arch": [64, 64]}, 8),
    created_at="2024-01-01T00:00:00+00:00",
    evidence=(PlayedWindow(seeds=(1, 2), returns=(1.0, 2.0), score=1.5),),
)

METADATA: dict[str, Any] = {
    "format": 1,
    "snapshot": SNAPSHOT.to_dict(),
    "files": {"weights/agent.safetensors": {"bytes": 12, "sha256": "0" * 64}},
    "sha256": "0" * 64,
}

RUN: dict[str, Any] = {
    "format": 3,
    "version": "1.0",
    "env": "CartPole-v1",
    "algorithm": "ppo",
    "framework": "torch",
    "seed": 3,
    "net_arch": [64, 64],
    "window_size": 2048,
    "n_envs": 4,
    "async_envs": False,
    "normalize_observations": True,
    "normalize_rewards": False,
    "hyperparams": {"learning_rate": 0.001, "n_epochs": 4},
    "tuning": True,
    "val_episodes": 5,
    "max_episodes": None,
    "base_interval": 1,
    "max_interval": 2,
    "plateau_threshold": 5,
    "dormant_threshold": 20,
    "evolve": 0,
    "threads": 1,
}
