"""Runs that are cut off and resumed: a zygote that forks a run per line of its input, and its tester's end.

input:   {"dir": ..., "windows": ..., "resume": ...}
output:  {"pid": ...}, then {"window": k, "members": m, "spawns": s, "watch": {...}} as each is completed, then
         {"end": hash, "items": counts of a live feed} or {"stopped": signal}
"""

import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]


SLOW_WINDOW = 10.0
WATCHED = ("turns", "shadow")
EVERYTHING = ("everything", "everything together", "everything forgetful")
SWITCH_AFTER = 60
"""Optimizer steps after which the updates of a "switching" run are compiled."""
_REPLAYING = {"learning_starts": 50, "updates_per_step": 0.2, "batch_size": 10}
SWITCHING: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "switching ppo": ("CartPole-v1", "ppo", {"minibatch_size": 10, "n_epochs": 2}, "minibatch_size"),
    "switching dqn": ("CartPole-v1", "dqn", _REPLAYING, "batch_size"),
    "switching sac": ("Pendulum-v1", "sac", _REPLAYING, "batch_size"),
}
"""PyTorch agents whose updates are compiled in the middle of the run, and the size of their minibatches is tuned."""
SPAWNS, MEMBERS = 300, 3
"""Budget of an evolving run."""


class Runs:
    """The tester's end.

    Args:
        kind: of the agent: "numpy", "torch" or "tf"; "slow": the first, with windows that take 10 s by its clock;
            "evolving": the first, with evolution; "turns" or "shadow": on a live feed, with a watch, see `_watched`; or
            of `SWITCHING`; or of `EVERYTHING`, see `_everything`.
        compiles: False: those of `SWITCHING` never do.
    """

    def __init__(self, kind: str, *, compiles: bool = True) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # a child that is killed leaves no compilers behind
        self._process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-m", "tests.soak.faults._resuming", kind, str(SWITCH_AFTER if compiles else 10**9)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )

    def start(self, directory: Path, windows: int) -> Iterator[dict[str, Any]]:
        """Start or resume a run, and yield what it tells; the first message has its pid, the last how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"dir": str(directory), "windows": windows}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            message = json.loads(line)
            yield message
            if "status" in message:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait(60)


def fingerprint(agent: Any, directory: Path) -> str:
    """Return the SHA-256 of an agent's training state and of the decisions of its run."""
    found = hashlib.sha256((directory / "history.jsonl").read_bytes())
    folder = directory / f"outcome-{os.getpid()}"
    folder.mkdir()
    agent.save_training_state(str(folder / "agent"))
    for file in sorted(folder.iterdir()):
        found.update(file.read_bytes())
    return found.hexdigest()


def _tell(**message: Any) -> None:
    os.write(1, (json.dumps(message) + "\n").encode())


def _build(kind: str) -> tuple[Any, Any]:
    from tensor_optix import BatchPipeline, VectorBatchPipeline, make_agent
    from tests.fakes.agents import RememberingAgent

    if kind == "evolving":
        return RememberingAgent(), BatchPipeline("CartPole-v1", window_size=20)
    if kind in ("numpy", "slow"):
        return RememberingAgent(), BatchPipeline("CartPole-v1", window_size=50)
    if kind in SWITCHING:
        environment, algorithm, hyperparams, _ = SWITCHING[kind]
        agent = make_agent(environment, algorithm, "torch", seed=1, net_arch=[4], hyperparams=hyperparams)
        return agent, BatchPipeline(environment, window_size=50)
    agent = make_agent("CartPole-v1", "ppo", kind, seed=1, net_arch=[8])
    if kind == "torch":
        return agent, BatchPipeline("CartPole-v1", window_size=50, normalize_observations=True)
    return agent, VectorBatchPipeline(("CartPole-v1", 2), None, 25)


def _evolution(agent: Any, directory: Path) -> tuple[Any, list[Any]]:
    from tensor_optix import CheckpointRegistry, PolicyManager
    from tests.fakes.agents import RememberingAgent

    logging.disable(logging.WARNING)  # each start says once more that nothing is mutated
    seeds = itertools.count(1)
    manager = PolicyManager(CheckpointRegistry(directory), max_spawns=SPAWNS, max_ensemble_size=MEMBERS, seed=4)
    callback = manager.as_callback(agent, agent_factory=lambda: RememberingAgent(seed=next(seeds)))
    callback.printer = None
    return manager, [callback]


def _graphs() -> int:
    """Return how many graphs PyTorch has compiled in this process."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def _alternating(name: str) -> Any:
    """Return an optimizer that doubles and halves one hyper-parameter by turns."""
    from tensor_optix import BaseOptimizer, HyperparamSet

    class Alternating(BaseOptimizer):
        def suggest(self, hyperparams: Any, metrics: Any) -> Any:
            size = hyperparams.params[name]
            return HyperparamSet({**hyperparams.params, name: 20 if size == 10 else 10}, hyperparams.episode_id)

        def on_improvement(self, metrics: Any) -> None:
            pass

        def on_plateau(self, metrics: Any) -> None:
            pass

    return Alternating()


def _live(kind: str, directory: Path, windows: int) -> None:
    from tensor_optix import RLOptimizer
    from tensor_optix.core.loop_callback import LoopCallback
    from tests.soak.faults._everything import build as build_everything
    from tests.soak.faults._watched import build as build_watched

    is_watched = kind in WATCHED
    manager, evolution, seconds = None, [], 0.0
    if kind in EVERYTHING:
        agent, pipeline, evolution, watched = build_everything(kind, directory)
    else:
        agent, pipeline, watched = build_watched(kind) if is_watched else (*_build(kind), {})
    if kind == "evolving":
        manager, evolution = _evolution(agent, directory)

    class Teller(LoopCallback):
        def on_loop_start(self) -> None:
            _tell(restored=True)

        def on_episode_end(self, window_id: int, eval_metrics: Any) -> None:
            status = {} if manager is None else manager.status()
            _tell(
                window=window_id,
                members=status.get("ensemble_size", 0),
                spawns=status.get("spawns_used", 0),
                watch=dict(optimizer.status.watch),
                compiled=kind in SWITCHING and _graphs() > 0,
            )
            nonlocal seconds
            seconds += SLOW_WINDOW

    options: dict[str, Any] = {"val_episodes": 1, "max_interval_episodes": 2, "dormant_threshold": windows}
    if manager is not None:
        options = {"val_pipeline": None, "plateau_threshold": 1, "dormant_threshold": 2, "max_interval_episodes": 1}
    if kind in SWITCHING:
        options |= {"optimizer": _alternating(SWITCHING[kind][3]), "max_interval_episodes": 1, "plateau_threshold": 1}
    options = watched or options
    optimizer = RLOptimizer(
        agent,
        pipeline,
        checkpoint_dir=directory,
        max_episodes=windows,
        callbacks=[*evolution, Teller()],
        seed=5,
        restore_best=False,
        resume=True,
        **options,
    )
    if is_watched or kind in EVERYTHING:
        keeper = optimizer._controller._run.parts.keeper
        keeper._share = math.inf  # each window is saved, or most kills would find the same
    if kind == "slow":  # what saving costs is measured, and may be ten times as much on a busy machine
        optimizer._keeper._clock = lambda: time.perf_counter() + seconds
    optimizer.run()
    if optimizer.ended_by is not None:
        _tell(stopped=optimizer.ended_by)
        sys.exit(128 + optimizer.ended_by)
    items = pipeline.stream_state()["counts"] if is_watched else {}
    kept = {name: items[name] for name in items if name not in ("reconnects", "duplicates")}
    _tell(end=fingerprint(agent, directory), items=kept)


def _serve(kind: str, switch_after: int) -> None:
    # Imported once, before any fork: the package resolves its public names on first use.
    import tests.soak.faults._everything
    import tests.soak.faults._watched  # noqa: F401
    from tensor_optix import (  # noqa: F401
        BatchPipeline,
        EnsembleAgent,
        PolicyManager,
        RLOptimizer,
        VectorBatchPipeline,
        make_agent,
    )

    if kind in ("torch", "tf"):
        __import__({"torch": "torch", "tf": "tensorflow"}[kind])
    if kind in SWITCHING:
        from tensor_optix.adapters.pytorch import _updater
        from tensor_optix.adapters.pytorch._dense_steps import DenseSteps

        _updater.COMPILE_AFTER_STEPS = switch_after
        DenseSteps.agree = lambda *_: False  # as for models that are no dense stacks
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _live(kind, Path(job["dir"]), job["windows"])
                code = 0
            except SystemExit as ending:
                code = int(ending.code or 0)
            except KeyboardInterrupt:
                code = 130
            except BaseException:  # noqa: BLE001, RUF100 - told, and the process ends here
                import traceback

                with contextlib.suppress(BaseException):
                    traceback.print_exc()
            finally:
                os._exit(code)
        _tell(pid=pid)
        _, status = os.waitpid(pid, 0)
        _tell(status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
