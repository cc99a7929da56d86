import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.faults import PlayStoppedError
from tensor_optix.core.loop.selection import (
    MOST_EVIDENCE,
    TEST_WINDOWS,
    Challenge,
    challenge,
    is_retest_due,
    play,
    play_again,
    retest,
    with_evidence,
)
from tensor_optix.core.loop.selection import (
    Tested as Shown,
)
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot
from tests.fakes.loops import LoopRig
from tests.helpers import NumpyAgent, ScriptedPipeline, window_of

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


def cut(returns: float, limit: int | None) -> PlayedWindow:
    return PlayedWindow(seeds=(0,), returns=(returns,), score=returns, episode_limit=limit)


@pytest.mark.parametrize(
    ("before", "now", "kept"), [(200, 400, False), (400, 400, True), (None, 400, True), (200, None, True)]
)
def test_episodes_that_were_cut_earlier_than_the_new_ones_make_way(
    before: int | None, now: int | None, kept: bool
) -> None:
    holder = replace(incumbent(-200.0, {}), evidence=(cut(-200.0, before),))
    found = with_evidence(holder, Shown((window_of(-400.0),), (cut(-400.0, now),)), EVALUATOR)
    assert found.metrics.primary_score == (-300.0 if kept else -400.0)


def test_with_them_those_make_way_that_ended_before() -> None:
    holder = replace(incumbent(-110.0, {}), evidence=(cut(-200.0, 200), cut(-20.0, None)))
    found = with_evidence(holder, Shown((window_of(-400.0),), (cut(-400.0, 400),)), EVALUATOR)
    assert found.metrics.primary_score == -400.0


@pytest.mark.parametrize(("returns", "wins"), [(4.0, False), (9.0, True)])
def test_where_nothing_is_to_be_played_the_candidate_is_judged_by_what_it_has_played(
    returns: float, wins: bool
) -> None:
    table = Table([], [])
    played = Shown.of(window_of(returns), [7], EVALUATOR)
    found = challenge(table, EVALUATOR, incumbent(5.0, {}), as_incumbent=table.as_incumbent, played=played)  # type: ignore[arg-type]
    assert (found.wins, found.tested, table.played, table.next_seed) == (wins, played, [], 0)


def test_episodes_are_played_again_as_far_as_they_were_played() -> None:
    class Bounds(Table):
        limits: list[int | None] = []

        def bound(self, max_steps: int | None, is_stopped: Callable[[], bool]) -> None:
            self.limits.append(max_steps)

    table = Bounds([1.0, 2.0])
    evidence = [
        PlayedWindow(seeds=(1,), returns=(2.0,), score=2.0, episode_limit=200),
        incumbent(1, {0: 1}).evidence[0],
    ]
    assert [window.returns for window in play_again(table, EVALUATOR, evidence).evidence] == [(2.0,), (1.0,)]
    assert table.limits == [200, None]


def test_a_test_that_is_broken_off_keeps_what_was_played_and_one_that_nobody_may_break_off_does_not() -> None:
    class Stopped(Table):
        def play(self, seeds: Sequence[int]) -> EpisodeData:
            if self.played:
                raise PlayStoppedError
            return super().play(seeds)

    table = Stopped([1.0, 2.0])
    assert len(play(table, EVALUATOR, [[0], [1]], is_stopped=lambda: bool(table.played)).windows) == 1
    with pytest.raises(PlayStoppedError):
        play(table, EVALUATOR, [[0]])


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


class Fives(Table):
    """Windows of five episodes, around the return of their seed."""

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        self.played.append((self.who, seeds[0]))
        returns = (self.returns if self.who == "candidate" else self.incumbents)[seeds[0]]
        return EpisodeData.concatenate([window_of(returns + luck, length=3) for luck in (-0.2, -0.1, 0.0, 0.1, 0.2)])


KNOWN = incumbent(5.0, {100 + n: 5.0 + 0.1 * (n % 3 - 1) for n in range(30)})


@pytest.mark.parametrize(
    ("candidates", "wins", "candidate_windows", "incumbent_windows"),
    [
        ((4.0, 9.0), False, 1, 0),  # behind in the first window already
        ((5.0, 4.0), False, 2, 0),  # behind in both
        ((6.0, 6.0), True, 2, 0),  # clearly ahead
        ((5.01, 5.02), False, 2, 2),  # close
    ],
)
def test_a_test_plays_no_more_than_what_may_change_its_outcome(
    candidates: tuple[float, ...], wins: bool, candidate_windows: int, incumbent_windows: int
) -> None:
    table = Fives(candidates, (5.02, 5.02))
    outcome = challenge(table, EVALUATOR, KNOWN, as_incumbent=table.as_incumbent)
    who = [name for name, _ in table.played]
    assert outcome.wins is wins
    assert (who.count("candidate"), who.count("incumbent")) == (candidate_windows, incumbent_windows)
    assert table.next_seed == TEST_WINDOWS  # whatever is played, the next test has other ones


def test_a_cheap_test_is_one_fresh_window_of_the_candidate() -> None:
    table = Table((5.5,))
    outcome: Challenge = challenge(table, EVALUATOR, BEST, as_incumbent=table.as_incumbent, is_cheap=True)
    assert (outcome.wins, table.played, outcome.incumbent) == (True, [("candidate", 0)], None)


LONG = incumbent(0.9, {100 + n: float(n % 10 > 0) for n in range(18)})
"""Right in nine of ten episodes, as far as its eighteen say."""


@pytest.mark.parametrize(
    ("candidates", "wins", "played"),
    [
        ([1.0] * 40, True, 20),  # as many episodes as it has to
        ([1.0] * 4 + [0.0] * 36, False, 6),  # it has fallen behind
        ([1.0, 0.0] + [1.0] * 38, False, 2),  # it was not ahead in the first place
    ],
)
def test_a_candidate_with_few_episodes_plays_on_until_it_is_surely_ahead_or_has_fallen_behind(
    candidates: list[float], wins: bool, played: int
) -> None:
    table = Table(candidates, [0.5, 0.5])
    outcome = challenge(table, EVALUATOR, LONG, as_incumbent=table.as_incumbent)
    assert outcome.wins is wins
    assert len(outcome.tested.windows) <= played
    assert outcome.metrics.primary_score == np.mean(candidates[: len(outcome.tested.windows)])


def test_a_candidate_does_not_play_on_beyond_its_steps() -> None:
    table = Table([1.0] * 40, [0.5, 0.5])
    outcome = challenge(table, EVALUATOR, LONG, as_incumbent=table.as_incumbent, max_steps=9)
    assert (outcome.wins, len(outcome.tested.windows)) == (False, 4)


def test_the_incumbent_is_tested_alone_and_keeps_what_it_has_shown() -> None:
    found = retest(Table([0.0, 2.0]), EVALUATOR, BEST)
    assert [window.seeds for window in found.evidence] == [(90,), (91,), (0,), (1,)]
    assert found.metrics.primary_score == np.mean([4.0, 6.0, 0.0, 2.0])


def test_it_is_tested_soon_after_it_was_crowned_then_less_and_less_often_and_not_forever() -> None:
    tested_in, due = 0, []
    for window_id in range(1, 60):
        if is_retest_due(BEST, window_id, tested_in):
            tested_in = window_id
            due.append(window_id)
    assert due == [1, 2, 3, 5, 8, 12, 18, 27, 41]
    assert not is_retest_due(incumbent(1.0, dict.fromkeys(range(MOST_EVIDENCE), 1.0)), 1000, 0)


def test_playing_ends_at_its_limit_or_when_asked_to() -> None:
    seeds = [[n] for n in range(9)]
    returns = [1.0] * 9
    assert len(play(Table(returns), EVALUATOR, seeds, max_steps=5).windows) == 2
    table = Table(returns)
    assert len(play(table, EVALUATOR, seeds, is_stopped=lambda: len(table.played) == 4).windows) == 4


class SeededPipeline(ScriptedPipeline):
    """Validation whose episodes are fixed by seeds: the return is the agent's worth plus the luck of the seed."""

    def __init__(self, agent: NumpyAgent, worth: dict[int, float], luck: dict[int, float]) -> None:
        super().__init__([], agent)
        self.worth, self.luck, self.next_seed = worth, luck, 0
        self.played: list[tuple[int, int]] = []
        """(windows that the policy had learned from, seed)."""

    def episodes(self):
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        self.next_seed += 1
        return [self.next_seed - 1]

    def play(self, seeds):
        learned = round(self.agent.weight / 0.1)
        self.played += [(learned, seed) for seed in seeds]
        return window_of(self.worth[learned] + self.luck.get(seeds[0], 0.0), length=1)


@pytest.fixture
def dear_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may take as many steps as training does."""
    monkeypatch.setattr("tensor_optix.core.loop.candidate_tests.TEST_SHARE", 1.0)


class TestSelection:
    def test_the_first_is_scored_on_fresh_episodes(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {1: 5.0}, {0: 4.0})
        report = LoopRig(tmp_path, [0.0], agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator()).run()
        assert report.best_score == 5.0
        assert val.played == [(1, 0), (1, 1), (1, 2)]

    @pytest.mark.usefixtures("dear_tests")
    def test_a_lucky_candidate_is_not_crowned(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {1: 5.0, 2: 4.0}, {3: 3.0})  # its first episode is a lucky one
        rig = LoopRig(tmp_path, [0.0] * 2, agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator())
        assert rig.run().best_score == 5.0
        assert val.played[3:] == [(2, 3), (2, 4), (2, 5), (1, 4), (1, 5)]
        assert round(agent.weight, 6) == 0.1  # restored at the end; before, the learner had its weights again
        assert [record.is_best for record in rig.history()] == [True, False]
        assert [record.eval_metrics.primary_score for record in rig.history()] == [5.0, 4.0]

    @pytest.mark.usefixtures("dear_tests")
    def test_a_better_one_is_ahead_of_the_best_on_the_same_fresh_episodes(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        luck = {1: -1.0, 2: 3.0, 4: 1.0}
        val = SeededPipeline(agent, {1: 5.0, 2: 7.0}, luck)
        rig = LoopRig(tmp_path, [0.0] * 2, agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator())
        report = rig.run()
        assert val.played[3:] == [(2, 3), (2, 4), (2, 5), (1, 4), (1, 5)]
        best = rig.registry.best
        assert best is not None
        assert [window.seeds for window in best.evidence] == [(4,), (5,)]
        assert [window.returns for window in best.evidence] == [(8.0,), (7.0,)]
        first = rig.registry.snapshots()[0]
        assert [window.returns for window in first.evidence] == [(4.0,), (8.0,), (6.0,), (5.0,)]
        assert first.eval_metrics.primary_score == 5.75
        assert report.best_window == 1

    def test_tests_that_have_cost_too_much_are_short(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {n: float(n) for n in range(1, 40)}, {})
        LoopRig(tmp_path, [0.0] * 30, agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator()).run()
        tests = len(val.played) - 30
        assert tests <= 30 + 5  # a step for two of training: hardly more than one window apiece

    def test_what_was_played_is_stored_and_survives(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        val = SeededPipeline(agent, {1: 5.0}, {1: 0.25})
        LoopRig(tmp_path, [0.0], agent=agent, val_pipeline=val, evaluator=EpisodeReturnEvaluator()).run()
        best = CheckpointRegistry(tmp_path).best
        assert best is not None
        assert PolicySnapshot.from_dict(json.loads(json.dumps(best.to_dict()))) == best
        returns = [value for window in best.evidence for value in window.returns]
        assert returns == [5.25, 5.0]
