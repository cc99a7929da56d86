"""A population against the PBT of Ray Tune: the same agent, environment, members, steps and cores."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options, run_python

TITLE = "Population: against Ray Tune's PBT"
MEMBERS, WORKERS, N_ENVS = 8, 2, 8
RETEST_EPISODES = 100
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Task:
    """An environment, and the steps that all members have together."""

    env: str
    steps: int


TASKS = (Task("CartPole-v1", 400_000), Task("Acrobot-v1", 400_000))


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment, seed and contestant, these by turns."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or SEEDS:
                for name, train in CONTESTANTS.items():
                    yield Measurement(f"{task.env}/{name}/seed{seed}", partial(_measure, task, name, train, seed))


def _measure(task: Task, name: str, train: Any, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        found = train(task, seed, Path(folder))
        best = str(Path(folder) / "best")
        played = run_python("-m", "tensor_optix.cli", "evaluate", best, "--episodes", str(RETEST_EPISODES), "--json")
    return {"env": task.env, "contestant": name, "seed": seed, "mean": json.loads(played)["mean"], **found}


def _ours(task: Task, seed: int, folder: Path) -> dict[str, Any]:
    how = ["--algo", "ppo", "--framework", "torch", "--n-envs", str(N_ENVS), "--workers", str(WORKERS)]
    bounds = ["--total-steps", str(task.steps), "--dormant-threshold", "100000"]  # all steps are taken
    where = ["--seed", str(seed), "--run-dir", str(folder / "run"), "--no-progress", "--json"]
    begun = time.perf_counter()
    command = ["-m", "tensor_optix.cli", "train", task.env, "--population", str(MEMBERS)]
    told = json.loads(run_python(*command, *how, *bounds, *where))
    seconds = time.perf_counter() - begun
    shutil.move(folder / "run", folder / "best")
    return {"seconds": seconds, "steps": told["steps"], "failed": 0}


def _tune(task: Task, seed: int, folder: Path) -> dict[str, Any]:
    given = {"env": task.env, "seed": seed, "members": MEMBERS, "workers": WORKERS, "n_envs": N_ENVS}
    given |= {"steps": task.steps // MEMBERS, "folder": str(folder / "tune"), "best": str(folder / "best")}
    return json.loads(run_python("-m", "benchmarks._population_tune", json.dumps(given)).splitlines()[-1])


CONTESTANTS = {"tensor-optix": _ours, "Ray Tune's PBT": _tune}


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per environment and contestant."""
    lines = []
    for env in dict.fromkeys(row["env"] for row in rows):
        for name in CONTESTANTS:
            those = [row for row in rows if (row["env"], row["contestant"]) == (env, name)]
            if those:
                spreads = [Spread.of(row[kind] for row in those) for kind in ("mean", "seconds", "steps")]
                lines.append([env, name, str(len(those)), spreads[0].text(1), *(one.text() for one in spreads[1:])])
    return [
        f"PPO on PyTorch, {MEMBERS} members on {WORKERS} workers, the same values moved within the same ranges, a "
        f"decision after the same windows. The best policy plays {RETEST_EPISODES} fresh episodes. Seconds are of "
        f"training with its start, and of our last test. Median [min, max].",
        "",
        *table(("Environment", "Who", "Seeds", "Score", "Seconds", "Steps of all members"), lines),
    ]
