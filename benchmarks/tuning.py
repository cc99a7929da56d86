"""Does tuning help from a bad start, and never hurt? Learning rates far from the default, equal total steps."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks._results import Row, Spread, seeds_of, share, table
from benchmarks._runs import build, training, true_mean
from benchmarks._suite import Measurement, Options
from tensor_optix.core.search_space import Param
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer

TITLE = "Tuning"
FACTORS = (1 / 30, 1 / 10, 1 / 3, 1.0, 3.0, 10.0, 30.0)
"""Start, as a multiple of the default learning rate."""
SEEDS = (0, 1, 2, 3, 4)
MODES = ("on", "off", "random search")
RESTARTS = 4
"""Of random search, each with a quarter of the steps, the best of which counts."""
TEST_EPISODES = 100
DEFAULT = 3e-4
SEARCHED = Param(1e-5, 1e-2, "log")
"""Where random search draws from: the bounds that the tuner has for it."""


@dataclass(frozen=True)
class Task:
    """An environment, the windows that a run has, and the mean return that counts as solved."""

    env: str
    windows: int
    goal: float


TASKS = (Task("CartPole-v1", 40, 475.0), Task("Acrobot-v1", 40, -100.0))
"""The goals are the thresholds that Gymnasium registers."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment, start, mode and seed."""
    for task, factor, mode in itertools.product(TASKS, FACTORS, MODES):
        if not options.only or task.env in options.only:
            for seed in options.seeds or SEEDS:
                yield Measurement(
                    f"{task.env}/x{factor:.3g}/{mode}/seed{seed}", partial(_measure, task, factor, mode, seed)
                )


def _measure(task: Task, factor: float, mode: str, seed: int) -> dict[str, Any]:
    if mode == "random search":
        rng = np.random.default_rng([seed, FACTORS.index(factor)])
        rates = [DEFAULT * factor, *(SEARCHED.from_unit(rng.random()) for _ in range(RESTARTS - 1))]
        found = [
            _train(task, float(rate), seed + 1000 * i, task.windows // RESTARTS, "off") for i, rate in enumerate(rates)
        ]
        best = max(found, key=lambda run: run["reported"])
    else:
        best = _train(task, DEFAULT * factor, seed, task.windows, mode)
    return {"env": task.env, "factor": factor, "mode": mode, "seed": seed, "solved": best["score"] >= task.goal, **best}


def _train(task: Task, rate: float, seed: int, windows: int, mode: str) -> dict[str, Any]:
    agent = build(task.env, seed, learning_rate=rate)
    tuner = None if mode == "on" else BackoffOptimizer({})
    with training(task.env, agent, seed, windows=windows, optimizer=tuner) as optimizer:
        report = optimizer.run()
    return {
        "score": true_mean(task.env, agent, TEST_EPISODES, seed=10_000 + seed),
        "reported": report.best_score,
        "env_steps": report.env_steps,
        "learning_rate": agent.get_hyperparams().params["learning_rate"],
        "tuning": report.tuning,
    }


def render(rows: Sequence[Row]) -> list[str]:
    """Return the share of runs that solve, per environment and start."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["env"], row["factor"]), []).append(row)
    lines = [[env, f"{factor:.3g}", *_cells(group)] for (env, factor), group in groups.items()]
    off_default = [row for row in rows if row["factor"] != 1.0]
    lines.append(["all", "off-default", *_cells(off_default)])
    budgets = ", ".join(f"{task.env} {task.windows}" for task in TASKS)
    return [
        f"PPO from a multiple of its default learning rate; windows of training: {budgets}. Random search: {RESTARTS} "
        f"runs of a quarter of that, from the start itself and from random learning rates. Solved: mean return of the "
        f"policy handed back over {TEST_EPISODES} fresh episodes, at least the threshold that Gymnasium registers. "
        f"In parentheses: its median [min, max]. Seeds {seeds_of(rows)}.",
        "",
        *table(("Environment", "Start", *(f"Tuning {mode}" for mode in MODES)), lines),
    ]


def _cells(rows: Sequence[Row]) -> Iterator[str]:
    for mode in MODES:
        of_mode = [row for row in rows if row["mode"] == mode]
        one_env = len({row["env"] for row in of_mode}) == 1
        spread = f" ({Spread.of(row['score'] for row in of_mode).text()})" if one_env else ""
        yield f"{share([row['solved'] for row in of_mode])}{spread}" if of_mode else "-"
