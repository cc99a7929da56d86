"""Many runs as one job, whose workers and driver are killed: a zygote that forks a driver per line, and its tester.

input:   {"kind": ..., "dir": ..., "way": 0 for the command that began it, 1 for `resume`}
output:  {"pid": ...}, then {"event": kind} for what happens to an item, then {"status": code, negative for a signal}
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from tensor_optix import _trained_runs
from tensor_optix._hyperparam_names import hyperparam_table
from tensor_optix.cli import main, populating, several
from tensor_optix.executors import Event, Processes, _link
from tensor_optix.multirun import final_test, jobs, member, search
from tensor_optix.multirun.description import is_multirun, write_description
from tensor_optix.multirun.study import SearchStudy
from tensor_optix.runs import RunDescription
from tests.fakes.agents import RememberingAgent
from tests.fakes.searches import DESCRIPTION
from tests.fakes.searches import RUN as SEARCHED
from tests.fakes.shortened import last_tests_shortened

ROOT = Path(__file__).resolve().parents[3]
SEEDS, MEMBERS, GENERATION_WINDOWS = 3, 4, 3
RUN = RunDescription(
    env="CartPole-v1",
    algorithm="ppo",
    framework="torch",
    seed=0,
    window_size=32,
    val_episodes=2,
    max_episodes=60,
    base_interval=2,
    dormant_threshold=1000,
    scaled_patience=False,
    escape=False,
)
KINDS = ("seeds", "population", "search")


class Learner(RememberingAgent):
    """Needs no framework, and has the hyper-parameters of PPO."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.params = hyperparam_table("ppo").resolve({})
        self.weight = float(self.rng.uniform())

    def learn(self, episode_data: Any) -> dict[str, Any]:
        self.weight += self.params["learning_rate"] * float(self.rng.normal())
        return {"loss": 1.0}

    def seed(self, seed: int) -> None:
        self.rng.bit_generator.state = type(self.rng.bit_generator)(seed).state


def _learner(self: RunDescription, number: int = 0, *, algorithm: str | None = None) -> Learner:
    return Learner(self.seed + 100 * number)


def plant() -> None:
    """Let all runs of this process have an agent that needs no framework, and short last tests."""
    RunDescription.agent = _learner  # type: ignore[assignment, method-assign]
    for module in (jobs, member, _trained_runs):
        module.set_threads = lambda framework, threads: None  # type: ignore[assignment]
    final_test.ROUNDS, final_test.LEADER_WINDOWS, search.LEADER_WINDOWS = (1, 2), 2, 2  # type: ignore[assignment]
    jobs.PAUSE_FACTOR = 2.0  # type: ignore[misc] - or runs of seconds would give their workers to nobody
    contextlib.ExitStack().enter_context(last_tests_shortened())


def fingerprint(kind: str, folder: Path) -> str:
    """Return the SHA-256 of what a job has come to: its result, its decisions, and its weights."""
    if kind == "search":
        trials = SearchStudy(folder / search.JOURNAL, SEARCHED.seed).trials()
        files, more = ["best.yaml", "result.json"], repr(sorted(trials, key=lambda trial: trial.number))
    else:
        decisions = ["history.jsonl"] * (kind == "seeds") + ["generations.jsonl", "population.json"]
        names = ["result.json", *decisions, "agent.npy"]
        files, more = sorted(str(path.relative_to(folder)) for name in names for path in folder.rglob(name)), ""
    found = hashlib.sha256(more.encode())
    for name in files:
        found.update(name.encode() + (folder / name).read_bytes())
    return found.hexdigest()


class Jobs:
    """The tester's end.

    Args:
        log: takes what drivers and workers print.
    """

    def __init__(self, log: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.faults._side_by_side"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=environment,
                cwd=ROOT,
                text=True,
            )

    def start(self, kind: str, folder: Path, way: int = 0) -> Iterator[dict[str, Any]]:
        """Begin a job, or go on with it; yield what it tells: first the pid of its driver, last how that ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"kind": kind, "dir": str(folder), "way": way}) + "\n")
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


def _tell(**message: Any) -> None:
    os.write(1, (json.dumps(message) + "\n").encode())


def _drive(kind: str, folder: Path, way: int) -> int:
    """Begin a job, or go on with it, as the command line does; return its exit code."""
    common = {"workers": 2, "run_dir": folder, "no_progress": True, "json": False, "report": False}
    common |= {"allow_module": [], "executor": "processes", "ray_address": None}
    if kind == "search" and not is_multirun(folder):
        folder.mkdir(exist_ok=True)
        SEARCHED.write(folder)
        write_description(folder, msgspec.structs.replace(DESCRIPTION, workers=2, trials=5, final_seeds=2))
    if kind == "search" or (way and is_multirun(folder)):
        return main(["resume", str(folder), "--no-progress"])
    if kind == "seeds":
        return several.train_seeds(argparse.Namespace(seeds=SEEDS, **common), RUN, {"n_envs": 1})
    args = argparse.Namespace(population=MEMBERS, generation_windows=GENERATION_WINDOWS, **common)
    return populating.train_population(args, RUN, {"n_envs": 1})


def _serve() -> None:
    from tensor_optix.multirun.pruning import optuna_module
    from tensor_optix.report import rendering, search_page  # noqa: F401

    optuna_module()  # imported once, before any fork
    rendering.plotly_js = lambda: ""
    plant()
    _link._CODE = _link._CODE.replace(
        "from tensor_optix.executors._worker",
        "from tests.soak.faults._side_by_side import plant; plant(); from tensor_optix.executors._worker",
    )
    report = Processes.report

    def told(self: Processes, event: Event, *outcome: Any) -> None:
        report(self, event, *outcome)
        _tell(event=event.kind)

    Processes.report = told  # type: ignore[method-assign, assignment]
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    code = _drive(job["kind"], Path(job["dir"]), job["way"])
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
    _serve()
