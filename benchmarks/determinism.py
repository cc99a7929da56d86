"""`python -m benchmarks determinism --record FILE`, `--compare FILE`: a run with a seed is the same before and after.

Each workload runs in a process of its own, once to its end and once killed and resumed. Recorded are the SHA-256 of the
history, of the decisions in it, and of the final weights. Hashes of weights differ between processors and versions:
compare on the machine that recorded.
"""

import argparse
import hashlib
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from benchmarks._suite import run_python
from tensor_optix import (
    BaseAgent,
    BaseEvaluator,
    BasePipeline,
    BatchPipeline,
    CheckpointRegistry,
    EnsembleAgent,
    EpisodeData,
    EvalMetrics,
    HyperparamSet,
    LoopCallback,
    PolicyManager,
    RLOptimizer,
    make_agent,
)

PACKAGES = ("numpy", "gymnasium", "torch", "tensorflow")
SEED = 3
DECIDED = ("window_id", "env_steps", "verdict", "state", "interval", "best_score", "is_best", "event")
"""Fields of a line of the history that are decisions."""


@dataclass(frozen=True)
class Workload:
    """A run that is recorded."""

    windows: int
    killed_after: int
    """Window in which the second run is killed."""
    make: Callable[[Path], dict[str, Any]]
    """Returns the arguments of `RLOptimizer`."""


class Follower(BaseAgent):
    """A one-number policy that learns the level of a feed."""

    def __init__(self) -> None:
        self.level = np.zeros(1)
        self.rate = 0.3

    def act(self, observation: Any) -> Any:
        """Return the level that it knows."""
        return float(self.level[0])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Move towards the level of the window."""
        self.level += self.rate * (float(np.mean(episode_data.observations)) - self.level)
        return {"loss": 0.0}

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


class ChangingFeed(BasePipeline):
    """A live feed whose level changes at a known window."""

    is_live = True

    def __init__(self, windows: int, changes_at: int) -> None:
        self._windows, self._changes_at, self._position = windows, changes_at, 0

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows that depend on their number alone."""
        while self._position < self._windows:
            n, self._position = self._position, self._position + 1
            rng = np.random.default_rng([7, n])
            seen = (4.0 if n >= self._changes_at else 1.0) + rng.normal(0.0, 0.1, (8, 1))
            assert self.agent is not None  # noqa: S101 - for the type checker
            actions = np.array([self.agent.act(row) for row in seen])
            ends = np.zeros(8, bool)
            rewards = -np.abs(actions - seen[:, 0]) + rng.normal(0.0, 0.05, 8)
            yield EpisodeData(
                observations=seen, actions=actions, rewards=rewards, terminated=ends, truncated=ends, episode_id=n
            )

    def stream_state(self) -> dict[str, Any]:
        """Return the position."""
        return {"position": self._position}

    def restore_stream(self, state: Mapping[str, Any]) -> None:
        """Go on from a position."""
        self._position = state["position"]


class MeanReward(BaseEvaluator):
    """Scores a window by its mean reward."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Return the mean reward."""
        return EvalMetrics(float(np.mean(episode_data.rewards)), {}, episode_data.episode_id)


def _built_in(env: str, algorithm: str, framework: str, window: int, **hyperparams: Any) -> Callable[[Path], dict]:
    def make(folder: Path) -> dict[str, Any]:
        agent = make_agent(env, algorithm, framework, hyperparams=hyperparams or None, seed=SEED, net_arch=[16])
        return {"agent": agent, "pipeline": BatchPipeline(env, agent, window)}

    return make


def _evolving(folder: Path) -> dict[str, Any]:
    made = iter(range(SEED, SEED + 100))

    def factory() -> BaseAgent:
        return make_agent("CartPole-v1", "ppo", "torch", seed=next(made), net_arch=[16])

    agent = factory()
    manager = PolicyManager(CheckpointRegistry(folder), max_spawns=2, seed=SEED)
    callback = manager.as_callback(agent, agent_factory=factory)
    callback.printer = None
    return {"agent": agent, "pipeline": BatchPipeline("CartPole-v1", agent, 256), "callbacks": [callback]}


def _ensemble(folder: Path) -> dict[str, Any]:
    manager = PolicyManager(CheckpointRegistry(folder), seed=SEED)
    members = [make_agent("CartPole-v1", "ppo", "torch", seed=SEED + n, net_arch=[16]) for n in range(3)]
    for member in members:
        manager.add_agent(member)
    agent = EnsembleAgent(manager, primary_agent=members[0], seed=SEED)
    callback = manager.as_callback(members[0])
    callback.printer = None
    return {"agent": agent, "pipeline": BatchPipeline("CartPole-v1", agent, 256), "callbacks": [callback]}


def _live(folder: Path) -> dict[str, Any]:
    return {"agent": Follower(), "pipeline": ChangingFeed(130, 60), "evaluator": MeanReward()}


WORKLOADS: Mapping[str, Workload] = {
    "CartPole PPO torch": Workload(30, 12, _built_in("CartPole-v1", "ppo", "torch", 256)),
    "CartPole PPO tf": Workload(30, 12, _built_in("CartPole-v1", "ppo", "tf", 256)),
    "Pendulum SAC torch": Workload(
        12, 6, _built_in("Pendulum-v1", "sac", "torch", 200, learning_starts=200, batch_size=32, replay_capacity=5000)
    ),
    "CartPole DQN torch": Workload(
        30, 12, _built_in("CartPole-v1", "dqn", "torch", 200, learning_starts=200, replay_capacity=5000)
    ),
    "CartPole PPO evolve 2": Workload(60, 25, _evolving),
    "CartPole PPO ensemble": Workload(25, 5, _ensemble),
    "live with a drift": Workload(130, 70, _live),
}


class _Kill(LoopCallback):
    def __init__(self, window: int) -> None:
        self._window = window

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        if window_id == self._window:
            os.kill(os.getpid(), signal.SIGKILL)


def run(name: str, folder: Path, *, kill: bool = False, resume: bool = False) -> dict[str, Any]:
    """Run a workload in this process and return its hashes.

    Args:
        name: one of `WORKLOADS`.
        folder: where the run is stored.
        kill: True to kill this process in the middle.
        resume: True to go on with the run in `folder`.
    """
    workload = WORKLOADS[name]
    arguments = workload.make(folder)
    callbacks = [*arguments.pop("callbacks", []), *([_Kill(workload.killed_after)] if kill else [])]
    optimizer = RLOptimizer(
        **arguments,
        checkpoint_dir=folder,
        max_episodes=workload.windows,
        plateau_threshold=3,
        dormant_threshold=6,
        max_interval_episodes=4,
        callbacks=callbacks,
        seed=SEED,
        resume=resume,
    )
    optimizer.run()
    weights = folder / "final"
    weights.mkdir()
    arguments["agent"].save_weights(str(weights / "weights"))
    lines = (folder / "history.jsonl").read_bytes().splitlines(keepends=True)
    return {
        "history": _sha256(lines),
        "decisions": _sha256(_decisions(line) for line in lines),
        "weights": _sha256(_tensors(weights)),
        "lines": [hashlib.sha256(line).hexdigest()[:12] for line in lines],
    }


def _sha256(parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _decisions(line: bytes) -> bytes:
    record = json.loads(line)
    picked = {name: record.get(name) for name in DECIDED}
    picked |= {"score": record["eval_metrics"]["primary_score"], "hyperparams": record["hyperparams"]["params"]}
    return json.dumps(picked, sort_keys=True).encode()


def _tensors(folder: Path) -> Iterator[bytes]:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield str(file.relative_to(folder)).encode()
        if file.suffix == ".safetensors":
            for tensor, array in sorted(load(file.read_bytes()).items()):
                yield f"{tensor} {array.dtype} {array.shape}".encode()
                yield array.tobytes()
        else:
            yield file.read_bytes()


def measure(name: str) -> dict[str, Any]:
    """Return the hashes of a workload, uninterrupted and killed and resumed, each from a process of its own."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        found["whole"] = _child(name, Path(folder) / "whole")
        _child(name, Path(folder) / "cut", "--kill")
        found["resumed"] = _child(name, Path(folder) / "cut", "--resume")
    return found


def _child(name: str, folder: Path, *flags: str) -> dict[str, Any]:
    code = (
        "import sys, json, pathlib; from benchmarks.determinism import run; "
        "print(json.dumps(run(sys.argv[1], pathlib.Path(sys.argv[2]), kill='--kill' in sys.argv, "
        "resume='--resume' in sys.argv)))"
    )
    if "--kill" not in flags:
        return json.loads(run_python("-c", code, name, str(folder), *flags).splitlines()[-1])
    process = os.spawnve(  # noqa: S606 - its own interpreter
        os.P_WAIT,
        sys.executable,
        [sys.executable, "-c", code, name, str(folder), *flags],
        {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    if process != -signal.SIGKILL:
        raise RuntimeError(f"{name} was to be killed, but ended with {process}.")
    return {}


def machine() -> dict[str, str]:
    """Return what the hashes depend on beside the code."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "processor": _processor(), **versions}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def differences(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return a line per hash that differs, with the first window from which on the history does."""
    lines = []
    for how, hashes in recorded.items():
        for kind in ("history", "decisions", "weights"):
            if hashes[kind] != found[how][kind]:
                pairs = zip(hashes["lines"], found[how]["lines"], strict=False)
                first = next((n for n, (old, new) in enumerate(pairs) if old != new), None)
                where = f", the history from evaluation {first} on" if first is not None else ""
                lines.append(f"{how}: {kind} differs{where}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Record or compare; return 0 where everything is the same, 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks determinism", description=__doc__)
    parser.add_argument("--only", action="append", default=[], choices=list(WORKLOADS), help="repeatable")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path, metavar="FILE", help="write the hashes; what is recorded is left")
    what.add_argument("--compare", type=Path, metavar="FILE", help="say what differs from a record")
    args = parser.parse_args(argv)
    file: Path = args.record or args.compare
    known = json.loads(file.read_text()) if file.exists() else {"machine": machine(), "workloads": {}}
    if known["machine"] != machine():
        print(f"recorded on another machine or with other versions: {known['machine']}", file=sys.stderr)
    failed = False
    for name in args.only or WORKLOADS:
        if args.record and name in known["workloads"]:
            print(f"{name}: already recorded")
            continue
        found = measure(name)
        if args.record:
            known["workloads"][name] = found
            file.write_text(json.dumps(known, indent=1))
        recorded = known["workloads"].get(name, found)
        problems = differences(recorded, found) + differences({"whole": found["whole"]}, {"whole": found["resumed"]})
        failed |= bool(problems)
        print(f"{name}: {'; '.join(problems) or 'the same'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
