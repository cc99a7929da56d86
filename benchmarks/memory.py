"""Does a memory solve what no policy without one can: CartPole without velocities, and a T-maze of length 20?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import _memory_worlds
from benchmarks._results import Row, Spread, seeds_of, share, table
from benchmarks._runs import true_returns
from benchmarks._suite import Measurement, Options
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.factory import make_agent, set_threads
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline

TITLE = "Agents with a memory"
EPISODES = 100
"""Fresh ones, greedily."""
ENVIRONMENTS, WINDOW = 16, 128
"""Stepped together, and steps of each in a window."""
TRAINERS = (
    ("recurrent_ppo", "lstm", "torch"),
    ("recurrent_ppo", "gru", "torch"),
    ("recurrent_ppo", "lstm", "tf"),
    ("recurrent_ppo", "gru", "tf"),
    ("ppo", "", "torch"),
)
"""(algorithm, cell, framework); the last one has no memory."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A world, the mean return that counts as solved, and how it is learned."""

    env: str
    goal: float
    windows: int
    hyperparams: dict[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)


TASKS = (
    Task(env=_memory_worlds.MAZE, goal=0.95, windows=60, hyperparams={"sequence_length": 32}),
    Task(env=_memory_worlds.MASKED, goal=450.0, windows=100, hyperparams={"entropy_coef": 0.0}),
)


def plan(options: Options) -> Iterator[Measurement]:
    """Return one training per world, trainer and seed."""
    for task in TASKS:
        if options.only and task.env not in options.only:
            continue
        for algorithm, cell, framework in TRAINERS:
            for seed in options.seeds or task.seeds:
                key = f"{task.env}/{cell or algorithm}/{framework}/seed{seed}"
                yield Measurement(key, partial(measure, task, algorithm, cell, framework, seed))


def measure(task: Task, algorithm: str, cell: str, framework: str, seed: int) -> dict[str, Any]:
    """Train for the task's windows at most, until its goal is reached in one, and play fresh episodes."""
    _memory_worlds.register()
    set_threads(framework, 1)
    given = {name: value for name, value in task.hyperparams.items() if cell or name != "sequence_length"}
    agent = make_agent(task.env, algorithm, framework, given, seed=seed, cell=cell or "lstm")
    steps = trained(agent, task, seed)
    returns = true_returns(task.env, agent, EPISODES, seed + 1000)
    mean = sum(returns) / len(returns)
    return {
        "env": task.env,
        "trainer": f"{algorithm} {cell}".strip() + f", {framework}",
        "seed": seed,
        "goal": task.goal,
        "env_steps": steps,
        "mean": mean,
        "reached": mean >= task.goal,
    }


def trained(agent: BaseAgent, task: Task, seed: int) -> int:
    """Train an agent for the task's windows at most, until one of them reaches the goal; return the steps."""
    pipeline = VectorBatchPipeline(
        (task.env, ENVIRONMENTS), agent, WINDOW, seed=seed, normalize_observations=True, normalize_rewards=True
    )
    pipeline.setup()
    steps = 0
    for number, window in enumerate(pipeline.episodes(), start=1):
        steps += window.length
        returns = [episode.total_return for episode in window.completed_episodes()]
        if number > task.windows or (returns and sum(returns) / len(returns) >= task.goal):
            break
        agent.learn(window)
    pipeline.teardown()
    return steps


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line per world and trainer."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["env"], row["trainer"]), []).append(row)
    budget = ", ".join(f"{task.windows * ENVIRONMENTS * WINDOW // 1000}k steps of {task.env}" for task in TASKS)
    return [
        f"{ENVIRONMENTS} environments, {ENVIRONMENTS * WINDOW} steps a window, observations and rewards normalised, "
        "until a window's mean return reaches the goal, "
        f"at most {budget}. The policy is then played greedily on {EPISODES} fresh episodes. Medians over "
        "the seeds, with [min, max].",
        "",
        *table(
            ("World", "Trainer", "Seeds", "Goal reached", "Mean return", "Steps"),
            (_line(env, trainer, found) for (env, trainer), found in groups.items()),
        ),
    ]


def _line(env: str, trainer: str, rows: Sequence[Row]) -> list[str]:
    return [
        f"{env} (≥ {rows[0]['goal']:g})",
        trainer,
        seeds_of(rows),
        share([row["reached"] for row in rows]),
        Spread.of(row["mean"] for row in rows).text(2),
        Spread.of(row["env_steps"] for row in rows).text(),
    ]
