"""Does the command a user would type learn, stop by itself, and report a score that holds on fresh episodes?"""

import itertools
import json
import math
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._results import Row, Spread, share, table
from benchmarks._suite import ROOT, Measurement, MeasurementError, Options, environment, run_python

TITLE = "Learning"
RETEST_EPISODES = 100
LIMIT_SECONDS = 4 * 3600
"""A run that has not converged by then is interrupted, and counts as not converged."""
_INTERRUPTED = 130


@dataclass(frozen=True)
class Task:
    """An environment, the seeds it is learned with, and the mean return that counts as solved."""

    env: str
    seeds: tuple[int, ...]
    goal: float


TASKS = (
    Task("CartPole-v1", tuple(range(10)), 475.0),
    Task("Acrobot-v1", (0, 1, 2), -90.0),
    Task("Pendulum-v1", (0, 1, 2), -400.0),
)
TRAINERS: Mapping[str, tuple[str, ...]] = {
    "ppo/torch": ("--framework", "torch"),
    "ppo/tf": ("--framework", "tf"),
}
"""Algorithm/framework, and the arguments that choose it on the command line."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment, trainer and seed."""
    for task, trainer in itertools.product(TASKS, TRAINERS):
        if not options.only or task.env in options.only:
            for seed in options.seeds or task.seeds:
                yield Measurement(f"{task.env}/{trainer}/seed{seed}", partial(_measure, task, trainer, seed))


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


def _measure(task: Task, trainer: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        report = train(task.env, run_dir, "--seed", str(seed), *TRAINERS[trainer])
        again = json.loads(
            run_python("-m", "tensor_optix.cli", "evaluate", str(run_dir), "--episodes", str(RETEST_EPISODES), "--json")
        )
    reported, reported_error = _or_nan(report["best_score"]), report["best_std_err"] or 0.0
    difference = abs(reported - again["mean"])
    return {
        "env": task.env,
        "trainer": trainer,
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
        "`tensor-optix train ENV --seed N --framework F`, nothing else set, until the loop itself calls it trained. "
        f"The best policy is then played on {RETEST_EPISODES} fresh episodes: the re-test. Goal: mean return of the "
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


def _line(env: str, trainer: str, rows: Sequence[Row]) -> list[str]:
    def count(name: str) -> str:
        return share([row[name] for row in rows])

    def spread(name: str, digits: int = 0) -> str:
        return Spread.of(row[name] for row in rows).text(digits)

    return [
        f"{env} (≥ {rows[0]['goal']:g})",
        trainer,
        count("converged"),
        count("reached"),
        f"{count('honest')} ({count('within_retest_error')})",
        spread("retest", 1),
        spread("env_steps"),
        spread("seconds"),
    ]
