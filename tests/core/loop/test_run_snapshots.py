"""Which policy a whole run calls its best, where luck would have it otherwise."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix import RLOptimizer
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.untrained import MOST_EPISODES
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tests.helpers import NumpyAgent, window_of

Worth = Callable[[int, int], float]
"""Return of the policy after so many windows, on the episode with this number."""


class HeldOut(BasePipeline):
    """Episodes that are counted, each window of five a seed for itself."""

    def __init__(self, worth: Worth, agent: BaseAgent | None) -> None:
        self.agent, self.worth, self.number = agent, worth, 0

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        self.number += 5
        return list(range(self.number - 5, self.number))

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        policy = round(self.agent.weight)  # type: ignore[union-attr]
        return EpisodeData.concatenate([window_of(self.worth(policy, seed), length=1) for seed in seeds])


class Training(HeldOut):
    """Windows of 100 steps, which make their own held-out episodes."""

    def __init__(self, worth: Worth, agent: BaseAgent) -> None:
        super().__init__(worth, agent)
        self.held_out = HeldOut(worth, None)

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            yield window_of(0.0, length=100)

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> BasePipeline:
        self.held_out.agent = self.agent
        return self.held_out


def run_in(folder: Path, worth: Worth, windows: int, **options: Any) -> RLOptimizer:
    agent = NumpyAgent(learning_rate=1.0)
    return RLOptimizer(
        agent,
        Training(worth, agent),
        checkpoint_dir=folder,
        max_episodes=windows,
        max_interval_episodes=1,
        dormant_threshold=1000,
        seed=0,
        **options,
    )


def chance(policy: int, seed: int) -> float:
    return float(np.random.default_rng([policy, seed]).random())


class Bests(LoopCallback):
    """Which policy is called the best after each window, and with which score."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        best = self.optimizer.status.best
        if best is not None:
            self.seen.append((best.window_id, best.eval_metrics.primary_score))

    def of(self, optimizer: RLOptimizer) -> None:
        self.optimizer = optimizer


def test_a_best_that_owes_its_score_to_luck_loses_it_while_the_run_goes_on(tmp_path: Path) -> None:
    def worth(policy: int, seed: int) -> float:
        """Half of the episodes succeed, but of the second policy all of its first forty, and none afterwards."""
        return float(seed < MOST_EPISODES + 40 if policy == 2 else chance(policy, seed) < 0.5)

    bests = Bests()
    optimizer = run_in(tmp_path, worth, 40, callbacks=[bests])
    bests.of(optimizer)
    optimizer.run()
    assert (1, 1.0) in bests.seen
    assert bests.seen[-1][0] != 1
    assert min(score for window, score in bests.seen if window == 1) < 0.9


def test_what_is_in_reserve_is_bounded_and_what_the_last_test_chose_is_the_best(tmp_path: Path) -> None:
    optimizer = run_in(tmp_path, lambda policy, seed: float(chance(policy, seed) < 0.5), 40, max_snapshots=4)
    report = optimizer.run()
    registry = CheckpointRegistry(tmp_path)
    reserved = [snapshot for snapshot in registry.snapshots() if snapshot.in_reserve]
    assert 0 < len(reserved) <= 4
    assert registry.best is not None
    assert (report.best_snapshot, report.confirmed) == (str(registry.path_of(registry.best)), True)
