"""Does an ensemble of agents, trained together through `EnsembleAgent`, solve what one of them solves?"""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks._results import Row, Spread, seeds_of, share, table
from benchmarks._runs import build, training, true_mean
from benchmarks._suite import Measurement, MeasurementError, Options
from tensor_optix.core.base_agent import ActionProbabilities
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.ensemble_agent import EnsembleAgent
from tensor_optix.core.policy_manager import PolicyManager

TITLE = "Ensemble"
ENV, GOAL, MEMBERS = "CartPole-v1", 475.0, 3
SEEDS = (0, 1, 2)
TEST_EPISODES = 100


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per seed."""
    for seed in options.seeds or SEEDS:
        yield Measurement(f"{ENV}/seed{seed}", partial(_measure, seed))


def _measure(seed: int) -> dict[str, Any]:
    agents = [build(ENV, 100 * seed + member) for member in range(MEMBERS)]
    if not all(isinstance(agent, ActionProbabilities) for agent in agents):
        raise MeasurementError("The agents tell no action probabilities, so they cannot learn from their mixture.")
    with tempfile.TemporaryDirectory() as folder:
        manager = PolicyManager(CheckpointRegistry(folder), seed=seed)
        for agent in agents:
            manager.add_agent(agent)
        ensemble = EnsembleAgent(manager, agents[0])
        with training(ENV, ensemble, seed) as optimizer:
            report = optimizer.run()
    score = true_mean(ENV, ensemble, TEST_EPISODES, seed=40_000 + seed)
    return {
        "seed": seed,
        "score": score,
        "solved": score >= GOAL,
        "reason": report.reason,
        "env_steps": report.env_steps,
        "alone": [true_mean(ENV, agent, TEST_EPISODES, seed=40_000 + seed) for agent in agents],
    }


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line."""
    return [
        f"{MEMBERS} PPO agents on {ENV} act as one by the mixture of their policies, and each learns from its windows "
        f"with the mixture's log-probabilities. Seeds {seeds_of(rows)}. "
        f"Played on {TEST_EPISODES} fresh episodes; goal: {GOAL:g}.",
        "",
        *table(
            ("Runs", "Goal reached", "Ensemble", "Members alone", "Environment steps"),
            [
                [
                    str(len(rows)),
                    share([row["solved"] for row in rows]),
                    Spread.of(row["score"] for row in rows).text(1),
                    Spread.of(score for row in rows for score in row["alone"]).text(1),
                    Spread.of(row["env_steps"] for row in rows).text(),
                ]
            ],
        ),
    ]
