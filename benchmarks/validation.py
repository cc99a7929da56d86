"""What share of a run goes into validation: evaluations, tests of candidates and last tests, with no flag but the seed.

Runs of the command line, as long as they take, or as the field's long ones until a number of steps. Their parts are
told in processor time, which a busy machine does not stretch as much.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._field_tasks import FIELD, Task
from benchmarks._results import Row, Spread, seeds_of, table
from benchmarks._suite import Measurement, Options, run_python

TITLE = "Share of validation"
STEPS: dict[str, int | None] = {
    "Blackjack-v1": None,
    "FrozenLake-v1": None,
    "Taxi-v4": None,
    "CliffWalking-v1": None,
    "CartPole-v1": None,
    "Acrobot-v1": None,
    "MountainCar-v0": None,
    "Pendulum-v1": None,
    "InvertedPendulum-v5": None,
    "LunarLander-v3": 400_000,
    "Hopper-v5": 30_000,
    "HalfCheetah-v5": 30_000,
}
"""Of training, at most; None = until the loop itself ends the run."""
TASKS = tuple(task for task in FIELD if task.env in STEPS)
SEEDS = (0,)
GOAL = 15.0
"""Per cent, in the median."""
_PARTS = ("collect", "learn", "validate", "loop")


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment and seed."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or SEEDS:
                yield Measurement(f"{task.env}/seed{seed}", partial(_measure, task, seed))


def _measure(task: Task, seed: int) -> dict[str, Any]:
    steps = STEPS[task.env]
    limit = [] if steps is None else ["--max-steps", str(steps)]
    with tempfile.TemporaryDirectory() as folder:
        command = ["train", task.env, "--seed", str(seed), "--run-dir", str(Path(folder) / "run"), "--no-progress"]
        run_python("-m", "benchmarks._processor_time", *command, *limit)
        report = json.loads((Path(folder) / "run" / "report.json").read_text())
    keys = ("reason", "env_steps", "windows", "evaluations", "validation", "seconds", "best_score", "best_interval")
    return {"env": task.env, "seed": seed, "limit": steps, **{key: report[key] for key in keys}}


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line per environment, and the median over them."""
    by_env = {task.env: [row for row in rows if row["env"] == task.env] for task in TASKS}
    lines = [_line(env, of_env) for env, of_env in by_env.items() if of_env]
    medians = [Spread.of(_shares(of_env, "validate")).median for of_env in by_env.values() if of_env]
    return [
        "`tensor-optix train ENV --seed SEED`, nothing else, where a number of steps is given with `--max-steps`. "
        "Shares of the processor time of the run; validation is evaluations, tests of candidates and last tests. "
        f"Seeds {seeds_of(rows)}. Goal: validation at most {GOAL:g} % in the median over the environments. "
        f"Median: **{Spread.of(medians).median:.1f} %**.",
        "",
        *table(
            (
                "Environment",
                "Training steps",
                "Collect, %",
                "Learn, %",
                "Validate, %",
                "Loop, %",
                "Validation's steps, %",
                "Score",
            ),
            lines,
        ),
    ]


def _line(env: str, rows: Sequence[Row]) -> list[str]:
    steps = Spread.of(row["env_steps"] for row in rows)
    of_steps = Spread.of(100 * _spent(row) / (_spent(row) + row["env_steps"]) for row in rows)
    shares = [Spread.of(_shares(rows, part)).text(1) for part in _PARTS]
    scores = Spread.of(row["best_score"] for row in rows)
    return [env, steps.text(), *shares, of_steps.text(1), scores.text(2)]


def _spent(row: Row) -> int:
    return row["validation"]["steps"]


def _shares(rows: Sequence[Row], part: str) -> list[float]:
    return [100 * row["seconds"][part] / row["seconds"]["total"] for row in rows]
