"""Score against seconds: who is the first to reach what RL Baselines3 Zoo has published?

This library without a flag, on TensorFlow and on PyTorch, its PPO, its SAC or DQN, and Stable-Baselines3 with the
Zoo's settings, each in a process of its own and on one thread. The clock is processor time from the start of the
process, imports included, as a busy machine stretches it least; it stands still while a score is looked at.
"""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from benchmarks._race_runs import EPISODES
from benchmarks._race_tasks import TASKS, Task
from benchmarks._results import Row, table
from benchmarks._suite import Measurement, Options, run_python

TITLE = "Score against seconds"
SEEDS = (0,)
CAP_SECONDS = 240.0
SHARE = 0.95
"""Of the way from random actions to the published score: a mean of few episodes may miss the score itself for ever."""
_RANDOM_EPISODES, _RANDOM_SEED = 100, 80_000_023
DEFAULT, TORCH, PPO, OFF_POLICY, PEER = "default", "torch", "ppo", "off-policy", "sb3"
CONTESTANTS = (DEFAULT, TORCH, PPO, OFF_POLICY, PEER)


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment, seed and contestant."""
    cap = CAP_SECONDS if options.minutes is None else 60.0 * options.minutes
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or SEEDS:
                for name in CONTESTANTS:
                    key = f"{task.env}/{name}/seed{seed}"
                    yield Measurement(key, partial(_measure, task, name, seed, cap), partial(_goes_on, cap=cap))


def _goes_on(row: Row, cap: float) -> bool:
    return row["ended"] == "cap" and cap > row["cap"]


def _measure(task: Task, name: str, seed: int, cap: float) -> dict[str, Any]:
    goal = _goal(task.env, task.published)
    algorithm = {PPO: "ppo", OFF_POLICY: task.off_policy, PEER: task.zoo.algorithm}.get(name)
    with tempfile.TemporaryDirectory() as folder:
        how = {"env": task.env, "seed": seed, "goal": goal, "cap": cap, "algorithm": algorithm}
        how["framework"] = "torch" if name == TORCH else None
        given = {**how, "is_ours": name != PEER, "folder": folder, "begun": time.monotonic()}
        found = json.loads(run_python("-m", "benchmarks._race_runs", json.dumps(given)).splitlines()[-1])
    return {**how, "contestant": name, **found}


@cache
def _goal(env: str, published: float) -> float:
    from benchmarks._runs import random_mean

    start = random_mean(env, _RANDOM_EPISODES, _RANDOM_SEED)
    return start + SHARE * (published - start)


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per environment, and how often ours was the first."""
    raced = [(task, found) for task in TASKS if (found := _medians(task, rows))]
    both = [found for _, found in raced if DEFAULT in found and PEER in found and math.isfinite(min(found.values()))]
    before = sum(found[DEFAULT] < found[PEER] for found in both)
    first = sum(min(found, key=lambda name: found[name]) != PEER for found in both)
    return [
        f"Processor seconds from the start of the process until {EPISODES} fresh greedy episodes reach the goal, which "
        f"is {SHARE:.0%} of the way from random actions to the published score. The score is looked at, with the clock "
        "standing still, after every second, and from ten seconds on after every tenth of the time so far. Ours is "
        "`tensor-optix train ENV --seed N` without a further flag, which takes TensorFlow where it is installed, with "
        "`--framework torch`, and with `--algo`; Stable-Baselines3 has the "
        "settings of RL Baselines3 Zoo, and its number of steps. One thread each. In brackets: the algorithm, and the "
        "best score of a run that did not get there. Medians over the seeds.",
        "",
        *table(
            ("Environment", "Seeds", "Published", "Goal", "Ours", "PyTorch", "PPO", "Off-policy", "Peer", "First"),
            (_line(task, rows, found) for task, found in raced),
        ),
        f"Ours without a flag is at the goal before Stable-Baselines3 on {before} of {len(both)} environments where "
        f"anybody is (asked: 8 of {len(TASKS)}); one of ours is the first of all on {first}.",
        "",
    ]


def _medians(task: Task, rows: Sequence[Row]) -> Mapping[str, float]:
    """Return the median seconds of each contestant there; infinite where fewer than half of its runs got there."""
    those = {name: _of(task, name, rows) for name in CONTESTANTS}
    return {name: statistics.median(map(_seconds, found)) for name, found in those.items() if found}


def _of(task: Task, name: str, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if (row["env"], row["contestant"]) == (task.env, name)]


def _seconds(row: Row) -> float:
    return row["cpu_seconds"] if row["reached"] else math.inf


def _line(task: Task, rows: Sequence[Row], medians: Mapping[str, float]) -> list[str]:
    of_task = [row for row in rows if row["env"] == task.env]
    first = min(medians, key=lambda name: medians[name])
    return [
        task.env,
        str(len({row["seed"] for row in of_task})),
        f"{task.published:g}",
        f"{of_task[0]['goal']:.1f}",
        *(_text(_of(task, name, rows), medians.get(name)) for name in CONTESTANTS),
        first if math.isfinite(medians[first]) else "nobody",
    ]


def _text(rows: Sequence[Row], median: float | None) -> str:
    if median is None:
        return "-"
    algorithm = rows[0]["algorithm"] or ""
    if math.isfinite(median):
        got_there = "" if all(row["reached"] for row in rows) else f"{sum(row['reached'] for row in rows)}/{len(rows)}"
        notes = ", ".join(filter(None, (algorithm, got_there)))
        return f"{median:.1f}{f' ({notes})' if notes else ''}"
    best = max(look[2] for row in rows for look in row["looks"])
    until = max(row["cpu_seconds"] for row in rows)
    return f"not in {until:.0f} ({', '.join(filter(None, (algorithm, f'{best:.1f}')))})"
