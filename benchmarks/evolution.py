"""Does evolution make the final policy better, and never worse? Paired runs with and without it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._results import Row, Spread, seeds_of, share, table
from benchmarks._runs import build, training, true_returns
from benchmarks._suite import Measurement, Options
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.policy_manager import PolicyManager

TITLE = "Evolution"
SPAWNS = 3
TEST_EPISODES = 200
ERRORS = 2.0
"""A policy is worse if it is by more than so many standard errors of the difference."""


@dataclass(frozen=True)
class Task:
    """An environment, its seeds, the score that counts as solved, and a patience short enough to fall short."""

    env: str
    seeds: tuple[int, ...]
    goal: float
    dormant_threshold: int = 8
    plateau_threshold: int = 3

    @property
    def key(self) -> str:
        """Its name in the results."""
        return self.env if self.dormant_threshold == Task.dormant_threshold else f"{self.env} in haste"


TASKS = (
    Task("CartPole-v1", (0, 1, 2, 3, 4), 475.0),
    Task("Acrobot-v1", (0, 1, 2, 3, 4), -100.0),
    Task("Pendulum-v1", (0, 1, 2, 3, 4), -200.0),
    Task("Acrobot-v1", (0, 1, 2), -100.0, dormant_threshold=3, plateau_threshold=1),
    Task("Pendulum-v1", (0, 1, 2), -200.0, dormant_threshold=2, plateau_threshold=1),
)
"""The last two have so little patience that the first run falls short."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one pair of runs per environment and seed."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or task.seeds:
                yield Measurement(f"{task.key}/seed{seed}", partial(_measure, task, seed))


def _measure(task: Task, seed: int) -> dict[str, Any]:
    plain, evolved = (_train(task, seed, spawns) for spawns in (0, SPAWNS))
    difference = evolved["mean"] - plain["mean"]
    error = standard_error(np.subtract(evolved.pop("returns"), plain.pop("returns")))
    return {
        "env": task.key,
        "seed": seed,
        "goal": task.goal,
        "plain": plain,
        "evolved": evolved,
        "difference": difference,
        "as_good": bool(difference >= -ERRORS * np.nan_to_num(error)),
        "fell_short": plain["mean"] < task.goal,
    }


def _train(task: Task, seed: int, spawns: int) -> dict[str, Any]:
    agent = build(task.env, seed)

    def evolution(folder: Path) -> list[LoopCallback]:
        if not spawns:
            return []
        manager = PolicyManager(CheckpointRegistry(folder), max_spawns=spawns, seed=seed)
        numbers = iter(range(1, 1000))

        def factory() -> BaseAgent:
            return build(task.env, 1000 * next(numbers) + seed)

        callback = manager.as_callback(agent, agent_factory=factory)
        callback.printer = None
        return [callback]

    with training(
        task.env,
        agent,
        seed,
        callbacks=evolution,
        dormant_threshold=task.dormant_threshold,
        plateau_threshold=task.plateau_threshold,
    ) as optimizer:
        report = optimizer.run()
    returns = true_returns(task.env, agent, TEST_EPISODES, seed=30_000 + seed)
    return {
        "returns": returns,
        "mean": float(np.mean(returns)),
        "reported": report.best_score,
        "env_steps": report.env_steps,
        "outcomes": [variant["outcome"] for variant in report.evolution.get("lineage", ())],
    }


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per environment."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["env"], []).append(row)
    lines = [
        [
            env,
            share([row["as_good"] for row in group]),
            share([row["difference"] >= 0.0 for row in group]),
            *(Spread.of(row[kind]["mean"] for row in group).text(1) for kind in ("plain", "evolved")),
            *(Spread.of(row[kind]["env_steps"] for row in group).text() for kind in ("plain", "evolved")),
            _gain([row for row in group if row["fell_short"]]),
            str(sum(outcome == "new best" for row in group for outcome in row["evolved"]["outcomes"])),
        ]
        for env, group in groups.items()
    ]
    return [
        f"PPO, `--evolve {SPAWNS}` and without, same seeds; the policy handed back is played on {TEST_EPISODES} fresh "
        f"episodes, the same for both. As good: not worse by more than {ERRORS:g} standard errors of the paired "
        f"difference. The patience is shorter than the default, so that there is something left to find: "
        f"`plateau_threshold={TASKS[0].plateau_threshold}, dormant_threshold={TASKS[0].dormant_threshold}`; in haste, "
        f"where the first run falls short: 1 and {TASKS[-2].dormant_threshold} or {TASKS[-1].dormant_threshold}. Seeds "
        f"{seeds_of(rows)}. Score: "
        f"median [min, max]; gain: mean.",
        "",
        *table(
            (
                "Environment",
                "As good",
                "Not lower at all",
                "Score without",
                "Score with",
                "Steps without",
                "Steps with",
                "Gain where it fell short",
                "Variants that became the best",
            ),
            lines,
        ),
    ]


def _gain(rows: Sequence[Row]) -> str:
    return f"{np.mean([row['difference'] for row in rows]):+.1f} ({len(rows)} runs)" if rows else "-"
