"""Is the policy that a run hands back the best of those that it evaluated? Each of them is played at length."""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._results import Row, Spread, seeds_of, table
from benchmarks._runs import build, random_mean, training, true_mean
from benchmarks._suite import Measurement, Options
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EvalMetrics

TITLE = "Selection"
TEST_EPISODES = 200
GOAL_MEDIAN, GOAL_WORST = 0.99, 0.95


@dataclass(frozen=True)
class Task:
    """An environment, a budget that ends a run before it is solved for good, and its seeds."""

    env: str
    windows: int
    seeds: tuple[int, ...]


TASKS = (
    Task("CartPole-v1", 15, tuple(range(7))),
    Task("Acrobot-v1", 20, tuple(range(7))),
    Task("LunarLander-v3", 40, tuple(range(6))),
)


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment and seed."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or task.seeds:
                yield Measurement(f"{task.env}/seed{seed}", partial(_measure, task, seed))


class _Keeper(LoopCallback):
    """Keeps the weights of every policy that was evaluated."""

    def __init__(self, agent: BaseAgent, folder: Path) -> None:
        self._agent = agent
        self._folder = folder
        self._numbers = itertools.count()
        self.paths: list[str] = []

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Save what has just been validated."""
        if eval_metrics is not None:
            self.paths.append(str(self._folder / f"weights_{next(self._numbers)}"))
            self._agent.save_weights(self.paths[-1])


def _measure(task: Task, seed: int) -> dict[str, Any]:
    agent = build(task.env, seed)
    random_score = random_mean(task.env, TEST_EPISODES, seed=20_000 + seed)
    with tempfile.TemporaryDirectory() as folder:
        keeper = _Keeper(agent, Path(folder))
        with training(task.env, agent, seed, windows=task.windows, callbacks=lambda _: [keeper]) as optimizer:
            report = optimizer.run()
        # All on the same episodes, none of which any decision has seen.
        returned = true_mean(task.env, agent, TEST_EPISODES, seed=20_000 + seed)
        others = []
        for path in keeper.paths:
            agent.load_weights(path)
            others.append(true_mean(task.env, agent, TEST_EPISODES, seed=20_000 + seed))
    best = max(others)
    floor = min(random_score, returned)
    return {
        "env": task.env,
        "seed": seed,
        "random": random_score,
        "returned": returned,
        "reported": report.best_score,
        "best": best,
        "evaluated": len(others),
        "ratio": 1.0 if returned == best else (returned - floor) / (best - floor),
    }


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per environment, and one over all."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["env"], []).append(row)
    lines = [[env, str(len(group)), *_ratios(group)] for env, group in groups.items()]
    lines.append(["all", str(len(rows)), *_ratios(rows)])
    return [
        f"PPO for a short budget. Every policy that the run evaluated is played on {TEST_EPISODES} fresh episodes, the "
        f"same for all; the ratio is that of the policy handed back to the best of them, both above uniformly "
        f"random actions. Seeds {seeds_of(rows)} (those of each environment from 0 on). "
        f"The best of many such means is itself too high. Goals: median at least {GOAL_MEDIAN:g}, worst at "
        f"least {GOAL_WORST:g}.",
        "",
        *table(("Environment", "Runs", "Ratio, median [min, max]", "Mean"), lines),
    ]


def _ratios(rows: Sequence[Row]) -> list[str]:
    ratios = [row["ratio"] for row in rows]
    return [Spread.of(ratios).text(3), f"{np.mean(ratios):.3f}"]
