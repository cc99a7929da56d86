"""Policies whose returns are known play the last test of several runs."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tensor_optix.core.loop.final_evaluation import LEADER_STEPS, LEADER_WINDOWS
from tensor_optix.executors import Payload
from tensor_optix.multirun.final_test import ROUNDS, Windows, final_test, final_test_on
from tests.fakes.executors import FakeExecutor


class Arena:
    """Policies with a mean each; an episode's luck is that of its seed, the same for all."""

    def __init__(self, *means: float, noise: float = 1.0, most: int = 100) -> None:
        self.means, self.noise, self.most = means, noise, most
        self.played: list[tuple[list[int], int]] = []
        numbers = itertools.count()
        self.fresh: Callable[[], list[int]] = lambda: [next(numbers), next(numbers)]
        self.seeds: list[int] = []

    def play(self, numbers: Sequence[int], windows: Windows) -> list[list[list[float]]]:
        self.played.append((list(numbers), len(windows)))
        self.seeds += [seed for window in windows for seed in window]
        luck = [[self.noise * np.random.default_rng(seed).standard_normal() for seed in window] for window in windows]
        return [[[self.means[i] + one for one in window] for window in luck][: self.most] for i in numbers]


def test_the_best_wins_and_is_confirmed_on_episodes_that_nobody_was_chosen_by() -> None:
    arena = Arena(1.0, 9.0, 3.0)
    found = final_test(3, arena.play, arena.fresh)
    assert found.best == 1
    assert arena.played[0] == ([0, 1, 2], ROUNDS[0])
    assert arena.played[-1] == ([1], LEADER_WINDOWS)
    assert len(set(arena.seeds)) == len(arena.seeds)
    assert len(found.returns) == 2 * LEADER_WINDOWS
    assert [seed for window in found.evidence for seed in window.seeds] == arena.seeds[-2 * LEADER_WINDOWS :]
    assert [len(one) >= 2 * ROUNDS[0] for one in found.raced] == [True] * 3


def test_the_same_luck_decides_nothing() -> None:
    arena = Arena(5.0, 5.1, noise=100.0)
    assert final_test(2, arena.play, arena.fresh).best == 1


def test_those_who_reach_the_ceiling_together_race_no_further() -> None:
    arena = Arena(500.0, 500.0, 20.0, noise=0.0)
    assert final_test(3, arena.play, arena.fresh).best == 0
    assert [windows for _, windows in arena.played] == [ROUNDS[0], LEADER_WINDOWS]


def test_a_single_policy_is_confirmed_without_a_race() -> None:
    arena = Arena(1.0)
    assert final_test(1, arena.play, arena.fresh).raced == ((),)
    assert arena.played == [([0], LEADER_WINDOWS)]


def test_long_episodes_end_the_race_after_what_all_have_played() -> None:
    arena = Arena(1.0, 2.0, most=2)
    found = final_test(2, arena.play, arena.fresh)
    assert found.best == 1
    assert [len(one) for one in found.raced] == [4, 4]


def of_seed(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(1, LEADER_STEPS // 8))


def play(values: dict[str, object]) -> dict[str, object]:
    """Plays windows of a seed each, one of which is the last as in `play_best`."""
    seeds = [seed for (seed,) in values["windows"]]  # type: ignore[attr-defined]
    taken = np.cumsum([of_seed(seed) for seed in seeds])
    seeds = seeds[: int(np.sum(taken - [of_seed(seed) for seed in seeds] <= LEADER_STEPS))]
    return {"returns": [[float(seed)] for seed in seeds], "steps": [of_seed(seed) for seed in seeds]}


@pytest.mark.parametrize("workers", [2, 3, 7, 50])
def test_workers_share_the_confirmation_and_end_it_where_one_would(workers: int) -> None:
    def tested(workers: int) -> tuple[list[float], list[int]]:
        executor = FakeExecutor({"play": play}, workers=workers)
        rng = np.random.default_rng(3)
        found = final_test_on(
            executor, "fakes:play", 1, lambda number, windows: Payload({"windows": windows}), rng, n_episodes=1
        )
        return found.returns, [len(values["windows"]) for _, values in executor.calls]

    alone, shares = tested(1)
    assert shares == [LEADER_WINDOWS]
    assert 1 < len(alone) < LEADER_WINDOWS
    together, shares = tested(workers)
    assert together == alone
    assert sum(shares) == LEADER_WINDOWS
    assert max(shares) == -(-LEADER_WINDOWS // min(workers, LEADER_WINDOWS))
