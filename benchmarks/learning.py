"""Does the command a user would type learn, stop by itself, and report a score that holds on fresh episodes?"""

import json
import math
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._results import Row, Spread, share, table
from benchmarks._suite import ROOT, Measurement, MeasurementError, Options, environment, run_python
from tensor_optix.presets import preset_for

TITLE = "Learning"
RETEST_EPISODES = 100
LIMIT_SECONDS = 4 * 3600
"""A run that has not converged by then is interrupted, and counts as not converged."""
_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Task:
    """An environment, how it is learned, and the mean return that counts as solved."""

    env: str
    goal: float
    seeds: tuple[int, ...] = (0, 1, 2)
    algorithm: str = "ppo"
    frameworks: tuple[str, ...] = ("torch", "tf")
    steps: int | None = None
    """Budget of training steps; None = until the loop itself calls it trained."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the command line is told besides environment, framework and seed."""
        if self.steps is None:
            return ("--algo", self.algorithm)
        windows = self.steps // preset_for(self.env, self.algorithm).window_size
        return ("--algo", self.algorithm, "--max-episodes", str(windows))


TASKS = (
    Task(env="CartPole-v1", goal=475.0, seeds=tuple(range(10))),
    Task(env="Acrobot-v1", goal=-90.0),
    Task(env="Pendulum-v1", goal=-400.0),
    Task(env="CartPole-v1", algorithm="dqn", goal=475.0, steps=50_000),
    Task(env="Pendulum-v1", algorithm="sac", goal=-180.0, steps=20_000),
    Task(env="MountainCarContinuous-v0", algorithm="sac", goal=85.0, steps=50_000),
    Task(env="MountainCar-v0", goal=-120.0, steps=500_000),
    Task(env="MountainCar-v0", algorithm="dqn", goal=-130.0, steps=200_000, frameworks=("torch",)),
    Task(env="LunarLander-v3", goal=200.0, steps=1_000_000),
    Task(env="HalfCheetah-v5", algorithm="sac", goal=3000.0, steps=100_000, frameworks=("tf",)),
)


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per task, framework and seed."""
    for task in TASKS:
        for framework in task.frameworks:
            if not options.only or task.env in options.only:
                for seed in options.seeds or task.seeds:
                    key = f"{task.env}/{task.algorithm}/{framework}/seed{seed}"
                    yield Measurement(key, partial(_measure, task, framework, seed))


def train(env: str, run_dir: Path, *arguments: str) -> dict[str, Any]:
    """Train by the command line and return its report; Ctrl-C is sent to a run longer than `LIMIT_SECONDS`.

    Raises:
        MeasurementError: it failed, or somebody else interrupted it.
    """
    command = ["-m", "tensor_optix.cli", "train", env, "--run-dir", str(run_dir), "--no-progress", *arguments]
    log = run_dir.with_suffix(".log")
    with (
        log.open("w") as file,
        subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment(), stdout=file, stderr=file) as run,
    ):
        expected = 0
        try:
            code = run.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            expected = _INTERRUPTED
            run.send_signal(signal.SIGINT)
            code = run.wait()
        finally:
            run.kill()  # after Ctrl-C it may still be at work
    if code not in (0, expected):
        raise MeasurementError(f"Training {env} failed: {log.read_text().strip()[-2000:]}")
    return json.loads((run_dir / "report.json").read_text())


def _measure(task: Task, framework: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        report = train(task.env, run_dir, "--seed", str(seed), "--framework", framework, *task.arguments)
        again = json.loads(
            run_python("-m", "tensor_optix.cli", "evaluate", str(run_dir), "--episodes", str(RETEST_EPISODES), "--json")
        )
    reported, reported_error = _or_nan(report["best_score"]), report["best_std_err"] or 0.0
    difference = abs(reported - again["mean"])
    return {
        "env": task.env,
        "trainer": f"{task.algorithm}/{framework}",
        "budget": task.steps,
        "seed": seed,
        "goal": task.goal,
        "reason": report["reason"],
        "windows": report["windows"],
        "env_steps": report["env_steps"],
        "seconds": report["seconds"]["total"],
        "reported": report["best_score"],
        "reported_std_err": reported_error,
        "retest": again["mean"],
        "retest_std_err": again["std_err"],
        "converged": report["reason"] == "converged",
        "reached": again["mean"] >= task.goal,
        # `<=`, so that two scores without any spread hold if they are equal.
        "honest": difference <= 2 * math.hypot(reported_error, again["std_err"]),
        "within_retest_error": difference <= 2 * again["std_err"],
    }


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line per environment and trainer."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["env"], row["trainer"]), []).append(row)
    return [
        "`tensor-optix train ENV --algo A --framework F --seed N`, nothing else set: until the loop itself calls it "
        f"trained, or for the budget of steps that is named. The best policy is then "
        f"played on {RETEST_EPISODES} fresh episodes: the re-test. Goal: mean return of the "
        "re-test. A report holds if score and re-test differ by at most two standard errors of their difference (in "
        "parentheses: of the re-test alone). Numbers are medians over the seeds, with [min, max].",
        "",
        *table(
            (
                "Environment",
                "Trainer",
                "Converged",
                "Goal reached",
                "Report holds",
                "Re-test",
                "Environment steps",
                "Seconds",
            ),
            (_line(env, trainer, group) for (env, trainer), group in groups.items()),
        ),
    ]


def _within(budget: int | None) -> str:
    return "" if budget is None else f" in {budget // 1000}k steps"


def _line(env: str, trainer: str, rows: Sequence[Row]) -> list[str]:
    def count(name: str) -> str:
        return share([row[name] for row in rows])

    def spread(name: str, digits: int = 0) -> str:
        return Spread.of(row[name] for row in rows).text(digits)

    return [
        f"{env} (≥ {rows[0]['goal']:g}{_within(rows[0].get('budget'))})",
        trainer,
        count("converged"),
        count("reached"),
        f"{count('honest')} ({count('within_retest_error')})",
        spread("retest", 1),
        spread("env_steps"),
        spread("seconds"),
    ]
