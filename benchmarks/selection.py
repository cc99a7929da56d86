"""Is the policy that a run hands back the best of those that it evaluated?

In worlds with policies of known value, and in environments, where each policy is played at length.
"""

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
from benchmarks._selection_worlds import WORLDS, ScriptedAgent, ScriptedPipeline, World
from benchmarks._suite import Measurement, Options
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EvalMetrics
from tensor_optix.optimizer import RLOptimizer

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


WORLD_SEEDS = tuple(range(20))


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per world or environment, and seed."""
    for world in WORLDS:
        if not options.only or world.name in options.only:
            for seed in options.seeds or WORLD_SEEDS:
                yield Measurement(f"{world.name}/seed{seed}", partial(_measure_world, world, seed))
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


def _measure_world(world: World, seed: int) -> dict[str, Any]:
    values = world.values(np.random.default_rng([seed, 77]), world.windows + 1)
    agent = ScriptedAgent()
    with tempfile.TemporaryDirectory() as folder:
        report = RLOptimizer(
            agent,
            ScriptedPipeline(world, values, agent, seed),
            checkpoint_dir=folder,
            max_episodes=world.windows,
            max_interval_episodes=1,
            dormant_threshold=10 * world.windows,
            seed=seed,
        ).run()
    returned, best, interval = float(values[agent.n]), float(values[1:].max()), report.best_interval
    return {
        "world": world.name,
        "seed": seed,
        "returned": returned,
        "reported": report.best_score,
        "best": best,
        "is_covered": interval is not None and interval.low <= returned <= interval.high,
        "ratio": (returned - float(values[0])) / (best - float(values[0])),
    }


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
    """Return a table for the worlds and one for the environments."""
    worlds, played = [row for row in rows if "world" in row], [row for row in rows if "env" in row]
    return [*(_of_worlds(worlds) if worlds else []), *(_of_environments(played) if played else [])]


def _of_worlds(rows: Sequence[Row]) -> list[str]:
    groups = _grouped(rows, "world")
    lines = [[name, str(len(group)), *_ratios(group), _covered(group)] for name, group in groups.items()]
    lines.append(["all", str(len(rows)), *_ratios(rows), _covered(rows)])
    return [
        "Worlds in which the value of every policy is known. The ratio is that of the policy handed back to the best "
        "of all, above the first policy; covered: reported intervals that hold the true value. Seeds "
        f"{seeds_of(rows)}. Goals: median at least {GOAL_MEDIAN:g}, worst at least {GOAL_WORST:g}, covered 95 %.",
        "",
        *table(("World", "Runs", "Ratio, median [min, max]", "Mean", "Covered"), lines),
        "",
    ]


def _of_environments(rows: Sequence[Row]) -> list[str]:
    groups = _grouped(rows, "env")
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


def _grouped(rows: Sequence[Row], by: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    return groups


def _covered(rows: Sequence[Row]) -> str:
    return f"{np.mean([row['is_covered'] for row in rows]):.0%}"


def _ratios(rows: Sequence[Row]) -> list[str]:
    ratios = [row["ratio"] for row in rows]
    return [Spread.of(ratios).text(3), f"{np.mean(ratios):.3f}"]
