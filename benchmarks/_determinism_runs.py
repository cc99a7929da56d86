"""The runs that `determinism` hashes: each in a process of its own, which may be told to kill itself on the way.

Public names of the library only, so that this file runs on the code before a redesign and on the code after it.
"""

import argparse
import hashlib
import itertools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from tensor_optix import (
    BaseAgent,
    BaseEvaluator,
    BatchPipeline,
    CheckpointRegistry,
    EnsembleAgent,
    EpisodeData,
    EvalMetrics,
    HyperparamSet,
    LivePipeline,
    LoopCallback,
    PolicyManager,
    RLOptimizer,
    TrainingReport,
    make_agent,
)

SEED = 3
SPAWNS, MEMBERS = 2, 3
STEPS, CHANGES_AT = 8, 60
"""Steps per window of the live feed, and the window from which on its level is another."""
OPTIONS: Mapping[str, Any] = {
    "plateau_threshold": 3,
    "dormant_threshold": 6,
    "max_interval_episodes": 2,
    "val_episodes": 2,
}
Arguments = dict[str, Any]
Shown = Callable[[TrainingReport, list[dict[str, Any]]], bool]


@dataclass(frozen=True)
class Workload:
    """A run that is recorded."""

    windows: int
    """Windows at most."""
    killed_after: int
    """Window at whose end the second run is killed."""
    make: Callable[[Path], Arguments]
    """From the run's folder to the arguments of `RLOptimizer`."""
    shows: str = ""
    """What must have happened in it, or the record would prove nothing."""
    has_shown: Shown = lambda report, lines: True
    options: Mapping[str, Any] = field(default_factory=dict)
    """In place of some of `OPTIONS`."""


class Follower(BaseAgent):
    """A policy of one number, which moves towards the level of a feed."""

    def __init__(self) -> None:
        self.level, self.rate = np.zeros(1), 0.3

    def act(self, observation: Any) -> float:
        """Return the level that it knows."""
        return float(self.level[0])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Move towards the mean of the window."""
        self.level = self.level + self.rate * (float(np.mean(episode_data.observations)) - self.level)
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        """Return the rate."""
        return HyperparamSet({"rate": self.rate})

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Take the rate."""
        self.rate = hp.params["rate"]

    def save_weights(self, path: str) -> None:
        """Write the level."""
        np.save(path + ".npy", self.level)

    def load_weights(self, path: str) -> None:
        """Read the level."""
        self.level = np.load(path + ".npy")


class ChangingLevel:
    """A numbered feed that waits for each action; its level changes once, and the reward is how near the action was."""

    is_lockstep = True

    def __init__(self) -> None:
        self._action, self._has_acted, self._is_closed = 0.0, threading.Semaphore(0), False

    def stream(self, after: int | None = None) -> Iterator[Any]:
        """Yield the items that follow number `after`, each but the first when the one before was acted on."""
        self._has_acted, self._is_closed = threading.Semaphore(0), False
        first = 0 if after is None else after + 1
        for n in itertools.count(first):
            if n > first:
                self._has_acted.acquire()
            if self._is_closed:
                return
            level = 1.0 if n < CHANGES_AT * STEPS else 4.0
            seen = np.random.default_rng([SEED, n]).normal(level, 0.3, 1)
            yield seen, -abs(self._action - float(seen[0])), False, False, {"sequence": n}

    def apply(self, action: Any) -> None:
        """Take the action on the newest item."""
        self._action = float(action)
        self._has_acted.release()

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._has_acted.release()


class MeanReward(BaseEvaluator):
    """Scores a window by its mean reward."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Return the mean reward."""
        return EvalMetrics(float(np.mean(episode_data.rewards)), {}, episode_data.episode_id)


def _built_in(env: str, algorithm: str, framework: str, window: int, **hyperparams: Any) -> Callable[[Path], Arguments]:
    def make(folder: Path) -> Arguments:
        agent = make_agent(env, algorithm, framework, hyperparams=hyperparams or None, seed=SEED, net_arch=(16,))
        return {"agent": agent, "pipeline": BatchPipeline(env, agent, window)}

    return make


def _agent(number: int) -> BaseAgent:
    return make_agent("CartPole-v1", "ppo", "torch", seed=1000 * number + SEED, net_arch=(16,))


def _evolving(folder: Path) -> Arguments:
    numbers, agent = itertools.count(1), _agent(0)
    manager = PolicyManager(CheckpointRegistry(folder), max_spawns=SPAWNS, seed=SEED)
    callback = manager.as_callback(agent, agent_factory=lambda: _agent(next(numbers)))
    callback.printer = None
    return {"agent": agent, "pipeline": BatchPipeline("CartPole-v1", agent, 256), "callbacks": [callback]}


def _ensemble(folder: Path) -> Arguments:
    manager = PolicyManager(CheckpointRegistry(folder), seed=SEED)
    members = [_agent(number) for number in range(MEMBERS)]
    for member in members:
        manager.add_agent(member)
    ensemble = EnsembleAgent(manager, members[0], seed=SEED)
    return {"agent": ensemble, "pipeline": BatchPipeline("CartPole-v1", ensemble, 256)}


def _live(folder: Path) -> Arguments:
    feed = LivePipeline(ChangingLevel(), episode_boundary_fn=LivePipeline.every_n_steps(STEPS))
    return {"agent": Follower(), "pipeline": feed, "evaluator": MeanReward()}


_HASTE = {"plateau_threshold": 2, "dormant_threshold": 4}
_MEMORY = {"learning_starts": 200, "replay_capacity": 5000}
WORKLOADS: Mapping[str, Workload] = {
    "CartPole PPO torch": Workload(30, 6, _built_in("CartPole-v1", "ppo", "torch", 256)),
    "CartPole PPO tf": Workload(30, 6, _built_in("CartPole-v1", "ppo", "tf", 256)),
    "Pendulum SAC torch": Workload(10, 5, _built_in("Pendulum-v1", "sac", "torch", 200, batch_size=32, **_MEMORY)),
    "CartPole DQN torch": Workload(20, 6, _built_in("CartPole-v1", "dqn", "torch", 200, **_MEMORY)),
    "CartPole PPO torch, evolve 2": Workload(
        40,
        9,
        _evolving,
        "a variant is spawned",
        lambda report, lines: len(report.evolution.get("lineage", ())) > 0,
        _HASTE,
    ),
    "CartPole PPO torch, ensemble": Workload(20, 6, _ensemble),
    "live with a drift": Workload(
        120,
        CHANGES_AT + 12,
        _live,
        "a drift is seen",
        lambda report, lines: any(line.get("event") == "drift" for line in lines),
        _HASTE,
    ),
}


class _Witness(LoopCallback):
    """Notes the first window of a process, and kills it at the end of another."""

    def __init__(self, killed_after: int | None) -> None:
        self._killed_after, self.first = killed_after, None

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        self.first = window_id if self.first is None else self.first
        if window_id == self._killed_after:
            os.kill(os.getpid(), signal.SIGKILL)


def run(workload: Workload, folder: Path, *, kill: bool = False, resume: bool = False) -> dict[str, Any]:
    """Run a workload in this process and return what came of it.

    Args:
        workload: what to run.
        folder: where the run is stored.
        kill: True to kill this process at the end of `workload.killed_after`.
        resume: True to go on with the run in `folder`.

    Returns:
        `history`: the lines of `history.jsonl`, as text; `weights`: SHA-256 of the tensors that the agent saves;
        `began_with`: the first window of this process; `has_shown`: whether what the workload is for has happened.
    """
    arguments = workload.make(folder)
    witness = _Witness(workload.killed_after if kill else None)
    report = RLOptimizer(
        checkpoint_dir=folder,
        max_episodes=workload.windows,
        callbacks=[*arguments.pop("callbacks", ()), witness],
        seed=SEED,
        resume=resume,
        **{**OPTIONS, **workload.options, **arguments},
    ).run()
    lines = (folder / "history.jsonl").read_text().splitlines(keepends=True)
    return {
        "history": lines,
        "weights": hash_weights(arguments["agent"], folder / "final"),
        "began_with": witness.first,
        "has_shown": workload.has_shown(report, [json.loads(line) for line in lines]),
    }


def hash_weights(agent: BaseAgent, folder: Path) -> str:
    """Return the SHA-256 of name, type, shape and bytes of each tensor that `save_weights` writes, in order of names.

    Args:
        agent: whose weights.
        folder: where they are written; it must not exist.

    Raises:
        ValueError: it wrote no tensor, or a file that is of no known kind.
    """
    folder.mkdir(parents=True)
    agent.save_weights(str(folder / "weights"))
    tensors: dict[str, np.ndarray] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            tensors |= {f"{name} {key}": array for key, array in load(path.read_bytes()).items()}
        elif path.suffix == ".npy":
            tensors[name] = np.load(path)
        elif path.suffix == ".json":
            text = json.dumps(json.loads(path.read_bytes()), sort_keys=True)  # of an ensemble: the mixture's weights
            tensors[name] = np.frombuffer(text.encode(), np.uint8)
        elif path.is_file():
            raise ValueError(f"{name} is no file of weights that can be hashed: .safetensors, .npy or .json.")
    if not tensors:
        raise ValueError(f"{type(agent).__name__}.save_weights wrote nothing to hash.")
    digest = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def main() -> None:
    """Run one workload and print what `run` returned as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    print(json.dumps(run(WORKLOADS[args.workload], args.folder, kill=args.kill, resume=args.resume)))


if __name__ == "__main__":
    main()
