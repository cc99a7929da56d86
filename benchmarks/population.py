"""A population against the PBT of Ray Tune and AgileRL's tournament: the same environment, members, steps and cores.

AgileRL pins half a hundred packages and is no dependency of ours: it plays where `AGILERL` names the folder of
`pip install --target FOLDER agilerl==2.58.0 peft==0.21.0 transformers==5.14.1`; it imports the last two without asking
for them.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options, run_python

TITLE = "Population: against Ray Tune's PBT and AgileRL's tournament"
MEMBERS, WORKERS, N_ENVS = 8, 2, 8
RETEST_EPISODES, RETEST_SEED = 100, 1_000_003
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Task:
    """An environment, and the steps that all members have together."""

    env: str
    steps: int


WINDOWS = 5
"""Of 2,048 steps between two decisions: so many as there are between two tournaments of AgileRL's manifest."""
STEPS = MEMBERS * 2 * WINDOWS * 2048
TASKS = (Task("CartPole-v1", STEPS), Task("Acrobot-v1", STEPS))


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment, seed and contestant, these by turns."""
    playing = {name: train for name, train in CONTESTANTS.items() if name != AGILERL or os.environ.get(AGILERL_FOLDER)}
    if AGILERL in CONTESTANTS and AGILERL not in playing:
        print(f"population: {AGILERL} is left out, as {AGILERL_FOLDER} names no folder that has it.", file=sys.stderr)
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or SEEDS:
                for name, train in playing.items():
                    yield Measurement(f"{task.env}/{name}/seed{seed}", partial(_measure, task, name, train, seed))


def _measure(task: Task, name: str, train: Any, seed: int) -> dict[str, Any]:
    """Return what was found, with the load of the machine before it."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        return {"env": task.env, "contestant": name, "seed": seed, "load": load, **train(task, seed, Path(folder))}


def _ours(task: Task, seed: int, folder: Path) -> dict[str, Any]:
    how = ["--algo", "ppo", "--framework", "torch", "--n-envs", str(N_ENVS), "--workers", str(WORKERS)]
    how += ["--generation-windows", str(WINDOWS)]
    bounds = ["--total-steps", str(task.steps), "--dormant-threshold", "100000"]  # all steps are taken
    where = ["--seed", str(seed), "--run-dir", str(folder / "run"), "--no-progress", "--json"]
    begun = time.perf_counter()
    command = ["-m", "tensor_optix.cli", "train", task.env, "--population", str(MEMBERS)]
    told = json.loads(run_python(*command, *how, *bounds, *where))
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "steps": told["steps"], "failed": 0, "mean": _mean(folder / "run")}


def _tune(task: Task, seed: int, folder: Path) -> dict[str, Any]:
    given = {"env": task.env, "seed": seed, "members": MEMBERS, "workers": WORKERS, "n_envs": N_ENVS}
    given |= {"steps": task.steps // MEMBERS, "windows": WINDOWS}
    given |= {"folder": str(folder / "tune"), "best": str(folder / "best")}
    found = json.loads(run_python("-m", "benchmarks._population_tune", json.dumps(given)).splitlines()[-1])
    return {**found, "mean": _mean(folder / "best")}


def _agilerl(task: Task, seed: int, folder: Path) -> dict[str, Any]:
    given = {"env": task.env, "seed": seed, "members": MEMBERS, "steps": task.steps // MEMBERS}
    given |= {"episodes": RETEST_EPISODES, "episode_seed": RETEST_SEED}
    found = run_python("-m", "benchmarks._population_agilerl", json.dumps(given), PYTHONPATH=os.environ[AGILERL_FOLDER])
    return json.loads(found.splitlines()[-1])


def _mean(best: Path) -> float:
    episodes = ["--episodes", str(RETEST_EPISODES), "--seed", str(RETEST_SEED), "--json"]
    return json.loads(run_python("-m", "tensor_optix.cli", "evaluate", str(best), *episodes))["mean"]


AGILERL, AGILERL_FOLDER = "AgileRL's tournament", "AGILERL"
CONTESTANTS = {"tensor-optix": _ours, "Ray Tune's PBT": _tune, AGILERL: _agilerl}


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per environment and contestant."""
    lines = []
    for env in dict.fromkeys(row["env"] for row in rows):
        for name in CONTESTANTS:
            those = [row for row in rows if (row["env"], row["contestant"]) == (env, name)]
            if those:
                spreads = [Spread.of(row[kind] for row in those) for kind in ("mean", "seconds", "steps")]
                lines.append([env, name, str(len(those)), spreads[0].text(1), *(one.text() for one in spreads[1:])])
    load = Spread.of(row["load"] for row in rows)
    return [
        f"{MEMBERS} members, {WORKERS} cores, a decision after {WINDOWS * 2048:,} steps of a member. Ray Tune's PBT "
        f"has our agent, PPO on PyTorch, and moves the same values within the same ranges. AgileRL 2.58 has its own "
        f"PPO, networks and mutations, by its manifest, and trains its members in turn in one process, with the "
        f"environments in it. The best policy plays {RETEST_EPISODES} fresh episodes greedily, the same for all. "
        f"Seconds are of training with its start, and of our last test. The contestants took turns on a machine with "
        f"other work, a load average of {load.text(1)} before a run: compare seconds with those beside them alone. "
        f"Median [min, max].",
        "",
        *table(("Environment", "Who", "Seeds", "Score", "Seconds", "Steps of all members"), lines),
    ]
