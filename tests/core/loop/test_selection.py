import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.selection import MOST_EVIDENCE, TEST_WINDOWS, Challenge, challenge, play
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot
from tests.helpers import window_of

EVALUATOR = EpisodeReturnEvaluator()


class Table:
    """Episodes whose returns are given by seed, for the candidate and for the incumbent; all seeds are fresh."""

    def __init__(self, returns: Sequence[float], incumbents: Sequence[float] = ()) -> None:
        self.returns, self.incumbents = returns, incumbents
        self.played: list[tuple[str, int]] = []
        self.next_seed = 0
        self.who = "candidate"

    def fresh_seeds(self) -> list[int]:
        self.next_seed += 1
        return [self.next_seed - 1]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        self.played.append((self.who, seeds[0]))
        returns = self.returns if self.who == "candidate" else self.incumbents
        return window_of(returns[seeds[0]], length=3)

    @contextlib.contextmanager
    def as_incumbent(self) -> Iterator[None]:
        self.who = "incumbent"
        yield
        self.who = "candidate"


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


BEST = incumbent(5.0, {90: 4.0, 91: 6.0})


@pytest.mark.parametrize(
    ("candidates", "incumbents", "wins", "best_score"),
    [
        ((6.0, 8.0), (3.0, 3.0), True, 4.0),
        ((3.0, 4.0), (3.0, 4.0), False, 4.25),  # a tie is not better
        ((8.0, 9.0), (9.0, 9.0), False, 7.0),  # behind on the same episodes
        ((4.0, 4.5), (3.0, 3.0), True, 4.0),  # below what the incumbent was crowned for, above what it is
        ((4.0, 4.5), (4.0, 4.0), False, 4.5),  # ahead on these, but not of all that it has shown
    ],
)
def test_a_candidate_must_be_ahead_on_the_same_fresh_episodes_and_of_all_that_the_incumbent_has_shown(
    candidates: tuple[float, ...], incumbents: tuple[float, ...], wins: bool, best_score: float
) -> None:
    table = Table(candidates, incumbents)
    outcome = challenge(table, EVALUATOR, BEST, as_incumbent=table.as_incumbent)
    assert table.played == [("candidate", 0), ("candidate", 1), ("incumbent", 0), ("incumbent", 1)]
    assert (outcome.wins, outcome.metrics.primary_score) == (wins, np.mean(candidates))
    assert [window.seeds for window in outcome.tested.evidence] == [(0,), (1,)]
    retest = outcome.incumbent
    assert retest is not None
    assert retest.metrics.primary_score == best_score
    assert retest.metrics.std_err == pytest.approx(standard_error([4.0, 6.0, *incumbents]))
    assert [window.seeds for window in retest.evidence] == [(90,), (91,), (0,), (1,)]
    assert outcome.tested.steps == retest.steps == 6


def test_the_evidence_of_the_best_is_bounded_and_the_oldest_makes_way() -> None:
    best = incumbent(1.0, dict.fromkeys(range(100, 100 + MOST_EVIDENCE), 1.0))
    table = Table((0.0, 0.0), (3.0, 3.0))
    outcome = challenge(table, EVALUATOR, best, as_incumbent=table.as_incumbent)
    assert outcome.incumbent is not None
    assert [window.seeds[0] for window in outcome.incumbent.evidence] == [*range(102, 100 + MOST_EVIDENCE), 0, 1]
    assert outcome.incumbent.metrics.primary_score == pytest.approx((MOST_EVIDENCE - 2 + 6) / MOST_EVIDENCE)


def test_a_score_that_is_no_mean_of_returns_is_that_of_the_new_episodes() -> None:
    evaluator = EpisodeReturnEvaluator(primary_score_fn=lambda window, metrics: metrics["mean_return"] ** 2)
    table = Table((1.0, 1.0), (2.0, 4.0))
    outcome = challenge(table, evaluator, BEST, as_incumbent=table.as_incumbent)
    assert outcome.incumbent is not None
    assert outcome.incumbent.metrics.primary_score == 9.0
    assert [window.seeds for window in outcome.incumbent.evidence] == [(0,), (1,)]


def test_a_first_candidate_plays_alone() -> None:
    table = Table((1.0, 3.0))
    outcome = challenge(table, EVALUATOR, None, as_incumbent=table.as_incumbent)
    assert (outcome.wins, outcome.metrics.primary_score, outcome.incumbent) == (True, 2.0, None)
    assert len(table.played) == TEST_WINDOWS


def test_the_margin_must_be_beaten() -> None:
    for margin, wins in ((1.0, False), (0.5, True)):
        table = Table((5.5, 5.5), (4.5, 4.5))
        outcome = challenge(table, EVALUATOR, BEST, as_incumbent=table.as_incumbent, margin=margin)
        assert outcome.wins is wins


def test_a_cheap_test_is_one_fresh_window_of_the_candidate() -> None:
    table = Table((5.5,))
    outcome: Challenge = challenge(table, EVALUATOR, BEST, as_incumbent=table.as_incumbent, is_cheap=True)
    assert (outcome.wins, table.played, outcome.incumbent) == (True, [("candidate", 0)], None)


def test_playing_ends_at_its_limit_or_when_asked_to() -> None:
    seeds = [[n] for n in range(9)]
    returns = [1.0] * 9
    assert len(play(Table(returns), EVALUATOR, seeds, max_steps=5).windows) == 2
    table = Table(returns)
    assert len(play(table, EVALUATOR, seeds, is_stopped=lambda: len(table.played) == 4).windows) == 4
