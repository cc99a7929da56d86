from collections.abc import Sequence

import pytest

from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.selection import TEST_WINDOWS, Challenge, challenge, play
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot
from tests.helpers import window_of

EVALUATOR = EpisodeReturnEvaluator()


class Table:
    """Episodes whose returns are given by seed; seeds from 100 on are fresh."""

    def __init__(self, returns: dict[int, float]) -> None:
        self.returns = returns
        self.played: list[int] = []
        self.next_seed = 100

    def fresh_seeds(self) -> list[int]:
        self.next_seed += 1
        return [self.next_seed - 1]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        self.played += seeds
        return window_of(self.returns[seeds[0]], length=3)


def incumbent(score: float, returns: dict[int, float]) -> PolicySnapshot:
    evidence = tuple(PlayedWindow(seeds=(s,), returns=(r,), score=r) for s, r in returns.items())
    return PolicySnapshot(
        snapshot_id="000000",
        sequence=0,
        window_id=0,
        eval_metrics=EvalMetrics(score),
        hyperparams=HyperparamSet({}),
        created_at="",
        evidence=evidence,
    )


BEST = incumbent(5.0, {0: 99.0, 1: 2.0, 2: 8.0})
"""Only the newest two of its windows are played against."""


@pytest.mark.parametrize(
    ("returns", "played", "wins", "score"),
    [
        ({1: 2.0}, [1], False, 2.0),  # a tie is not better
        ({1: 4.0, 2: 6.0}, [1, 2], False, 5.0),  # ahead by two, then level
        ({1: 4.0, 2: 7.0, 100: 6.0, 101: 6.0}, [1, 2, 100, 101], True, 5.75),
        ({1: 4.0, 2: 7.0, 100: 4.0, 101: 4.0}, [1, 2, 100, 101], False, 4.75),  # not on the fresh ones
    ],
)
def test_a_candidate_must_win_on_the_incumbents_episodes_and_hold_on_fresh_ones(
    returns: dict[int, float], played: list[int], wins: bool, score: float
) -> None:
    table = Table(returns)
    outcome = challenge(table, EVALUATOR, BEST)
    assert (table.played, outcome.wins, outcome.metrics.primary_score) == (played, wins, score)
    assert [window.seeds[0] for window in outcome.tested.evidence] == played
    assert outcome.tested.steps == 3 * len(played)


def test_a_first_candidate_plays_fresh_episodes_only() -> None:
    table = Table({100: 1.0, 101: 3.0})
    outcome = challenge(table, EVALUATOR, None)
    assert (outcome.wins, outcome.metrics.primary_score, table.played) == (True, 2.0, [100, 101])
    assert len(table.played) == TEST_WINDOWS


def test_the_margin_must_be_beaten() -> None:
    returns = {1: 4.0, 2: 7.0, 100: 6.0, 101: 6.0}
    assert not challenge(Table(returns), EVALUATOR, BEST, margin=1.0).wins
    assert challenge(Table(returns), EVALUATOR, BEST, margin=0.5).wins


def test_a_cheap_test_is_one_fresh_window() -> None:
    table = Table({100: 5.5})
    outcome: Challenge = challenge(table, EVALUATOR, BEST, is_cheap=True)
    assert (outcome.wins, table.played) == (True, [100])


def test_playing_ends_at_its_limit_or_when_asked_to() -> None:
    seeds = [[n] for n in range(9)]
    returns = dict.fromkeys(range(9), 1.0)
    assert len(play(Table(returns), EVALUATOR, seeds, max_steps=5).windows) == 2
    table = Table(returns)
    assert len(play(table, EVALUATOR, seeds, is_stopped=lambda: len(table.played) == 4).windows) == 4
