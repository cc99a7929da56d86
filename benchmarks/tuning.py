"""Does tuning help from a bad start, and never hurt? Learning rates far from the default, equal total steps."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks._results import Row, share, table
from benchmarks._runs import build, training, true_mean
from benchmarks._suite import Measurement, Options
from tensor_optix.core.search_space import Param, Signal
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
LEARNING_RATE = Param(1e-6, 3e-2, "log", signal=Signal("approx_kl", 0.002, 0.02, order=1.5))


@dataclass(frozen=True)
class Task:
    """An environment, the windows that a run has, and the mean return that counts as solved."""

    env: str
    windows: int
    goal: float


TASKS = (Task("CartPole-v1", 24, 475.0), Task("Acrobot-v1", 20, -90.0))


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
        rates = [DEFAULT * factor, *(LEARNING_RATE.from_unit(rng.random()) for _ in range(RESTARTS - 1))]
        found = [
            _train(task, float(rate), seed + 1000 * i, task.windows // RESTARTS, "off") for i, rate in enumerate(rates)
        ]
        best = max(found, key=lambda run: run["reported"])
    else:
        best = _train(task, DEFAULT * factor, seed, task.windows, mode)
    return {"env": task.env, "factor": factor, "mode": mode, "seed": seed, "solved": best["score"] >= task.goal, **best}


def _train(task: Task, rate: float, seed: int, windows: int, mode: str) -> dict[str, Any]:
    agent = build(task.env, seed, learning_rate=rate)
    bounds = {**agent.default_param_bounds, "learning_rate": LEARNING_RATE} if mode == "on" else {}
    with training(task.env, agent, seed, windows=windows, optimizer=BackoffOptimizer(bounds, seed=seed)) as optimizer:
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
        f"policy handed back over {TEST_EPISODES} fresh episodes. In parentheses: its median.",
        "",
        *table(("Environment", "Start", *(f"Tuning {mode}" for mode in MODES)), lines),
    ]


def _cells(rows: Sequence[Row]) -> Iterator[str]:
    for mode in MODES:
        of_mode = [row for row in rows if row["mode"] == mode]
        median = (
            f" ({np.median([row['score'] for row in of_mode]):.0f})" if len({r["env"] for r in of_mode}) == 1 else ""
        )
        yield f"{share([row['solved'] for row in of_mode])}{median}" if of_mode else "-"
