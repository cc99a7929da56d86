"""Runs in which everything takes part that a run can have: a vector, validation, tuning, evolution, an ensemble."""

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.core.search_space import Param
from tests.fakes.agents import RememberingAgent


class Signs(gym.Env[np.ndarray, np.int64]):
    """A point for each action that tells the sign of what is seen; episodes of ten steps."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return self._look(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = float((action == 1) == (self._seen.sum() > 0.0))
        self._step += 1
        return self._look(), reward, False, self._step == 10, {}

    def _look(self) -> np.ndarray:
        self._seen = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self._seen


class Tuned(RememberingAgent):
    """Says itself what may be tuned."""

    @property
    def default_param_bounds(self) -> dict[str, Param]:
        return {"learning_rate": Param(1e-3, 1.0, "log")}


class Forgetful(Tuned):
    """Loses its generator, which a comparison must tell."""

    def load_training_state(self, path: str) -> None:
        before = self.rng.bit_generator.state
        super().load_training_state(path)
        self.rng.bit_generator.state = before


def build(kind: str, directory: Path) -> tuple[Any, Any, list[Any], dict[str, Any]]:
    """Return an agent, its pipeline, the callback of its evolution, and the options of the run."""
    from tensor_optix import CheckpointRegistry, EnsembleAgent, PolicyManager, VectorBatchPipeline

    logging.disable(logging.WARNING)  # each start says once more what an ensemble must know
    made = Forgetful if kind == "everything forgetful" else Tuned
    seeds, first = itertools.count(1), made()
    manager = PolicyManager(CheckpointRegistry(directory), max_spawns=6, max_ensemble_size=3, seed=4)
    agent: Any = first
    if kind == "everything together":
        manager.add_agent(first)
        manager.add_agent(made(seed=50))
        agent = EnsembleAgent(manager, first, seed=6)
    callback = manager.as_callback(first, agent_factory=lambda: made(seed=next(seeds)))
    callback.printer = None
    pipeline = VectorBatchPipeline([Signs, Signs], None, 12)
    options = {"val_episodes": 1, "plateau_threshold": 2, "dormant_threshold": 5, "max_interval_episodes": 2}
    return agent, pipeline, [callback], {**options, "validation_share": 0.9}


_OF_THE_CLOCK = {"created_at", "seconds", "total_seconds", "probing_seconds", "share"}
"""Fields that tell times."""
_OF_THE_START = {"run_id", "settings", "sha256", "before", "records"}
"""Fields that tell of the newest start, or how long or how many the files were by then."""


def told(directory: Path) -> dict[str, object]:
    """Return what the files of a run say, by their paths: all but times, and what tells how often it was started."""
    points = sorted(directory.glob("resume_[0-9]*"))
    found: dict[str, object] = {}
    for path in sorted(file for file in directory.rglob("*") if file.is_file()):
        name = path.relative_to(directory).as_posix()
        top = name.partition("/")[0]
        if name in ("timings.jsonl", "environment.json", ".lock") or top.startswith("outcome"):
            continue
        if top.startswith("resume_"):
            if path.parent != points[-1] or path.name == "metadata.json":
                continue  # the newest is the end; which one was before it depends on the kills
            name = f"newest/{path.name}"
        found[name] = _said(path, directory)
    return found


def _said(path: Path, directory: Path) -> object:
    data = path.read_bytes().replace(str(directory).encode(), b"RUN")
    if path.name == "events.jsonl":
        return [line for line in data.splitlines() if json.loads(line)["event"] != "resume"]
    return _without(json.loads(data)) if path.suffix == ".json" else data


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in _OF_THE_CLOCK | _OF_THE_START}
    return [_without(one) for one in value] if isinstance(value, list) else value
