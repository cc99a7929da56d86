"""Whether a best is ahead of the untrained policy: constants, Bernoulli, heavy tails, few and many episodes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.decisions.untrained import (
    advice,
    has_risen_from,
    is_ahead_apart,
    is_ahead_by_ranks,
    is_ahead_on_same_seeds,
    is_negligible,
    start_of,
    start_score,
)
from tensor_optix.core.types import EvalMetrics, PlayedWindow

NAN = math.nan


def windows(returns: Sequence[float] | np.ndarray, size: int = 5, first_seed: int = 0) -> list[PlayedWindow]:
    """Windows of `size` episodes, with the seeds in order."""
    found = []
    for begin in range(0, len(returns), size):
        part = tuple(float(value) for value in returns[begin : begin + size])
        seeds = tuple(range(first_seed + begin, first_seed + begin + len(part)))
        found.append(PlayedWindow(seeds=seeds, returns=part, score=float(np.mean(part))))
    return found


@pytest.mark.parametrize(
    ("best", "start", "ahead"),
    [
        ([0.0] * 20, [0.0] * 20, False),  # equal constants are no gain
        ([0.1] * 20, [0.1 + 1e-13] * 20, False),  # nor is rounding
        ([1.0] * 20, [0.0] * 20, True),  # a constant gain is one
        ([-105.0] * 5, [-200.0] * 5, True),
        ([0.0] * 20, [1.0] * 20, False),  # a loss is none
        ([1.0, *[0.0] * 19], [0.0] * 20, False),  # one success by chance
        ([1.0, 1.0, *[0.0] * 18], [0.0] * 20, False),
        ([1.0] * 10 + [0.0] * 10, [0.0] * 20, True),
        ([1.0] * 30 + [0.0] * 170, [0.0] * 200, True),  # a low rate of success, and episodes enough to see it
        ([1e6, *[0.0] * 49], [0.0] * 50, False),  # one return out of a heavy tail
        ([500.0, 480.0, 490.0, 500.0, 470.0], [9.0, 10.0, 8.0, 9.0, 10.0], True),
        ([5.0] * 2, [1.0] * 2, None),  # too few
    ],
)
def test_on_the_same_seeds(best: list[float], start: list[float], ahead: bool | None) -> None:
    assert is_ahead_on_same_seeds(windows(best), windows(start)) is ahead


def test_luck_that_the_episodes_share_does_not_hide_a_gain() -> None:
    luck = np.random.default_rng(0).normal(0.0, 100.0, 50)
    best, start = windows(luck + 1.0), windows(luck)
    assert is_ahead_on_same_seeds(best, start) is True
    span = (float(luck.min()), float(luck.max()))
    begun = start_of(start, None, span)
    assert begun is not None
    assert is_ahead_apart(float(luck.mean()) + 1.0, mean_interval((luck + 1.0).tolist(), span), begun) is False


def test_only_episodes_that_both_have_played_are_compared() -> None:
    start = windows([0.0] * 20)
    assert is_ahead_on_same_seeds(windows([1.0] * 20, first_seed=100), start) is None
    cut = [PlayedWindow(seeds=start[0].seeds, returns=(1.0,) * 4, score=1.0), *windows([1.0] * 20)[1:]]
    assert is_ahead_on_same_seeds(cut, start) is True
    assert is_ahead_on_same_seeds(cut[:1], start) is None


def test_a_score_that_is_no_mean_of_returns_is_compared_window_by_window() -> None:
    ours = [PlayedWindow(seeds=(n,), returns=(0.0,), score=5.0) for n in range(4)]
    theirs = [PlayedWindow(seeds=(n,), returns=(9.0,), score=1.0) for n in range(4)]
    assert is_ahead_on_same_seeds(ours, theirs) is True
    assert start_score(theirs, None) == 1.0


@pytest.mark.parametrize(("rate", "low", "high"), [(0.0, 0.0, 0.03), (0.3, 0.0, 0.04), (0.9, 0.0, 0.05)])
def test_a_policy_that_is_no_better_is_seldom_called_ahead(rate: float, low: float, high: float) -> None:
    rng, found = np.random.default_rng(1), 0
    for _ in range(200):
        best, start = (rng.random((2, 40)) < rate).astype(float)
        found += is_ahead_on_same_seeds(windows(best), windows(start)) is True
    assert low <= found / 200 <= high


def test_a_policy_that_is_better_is_seldom_overlooked() -> None:
    rng, found = np.random.default_rng(1), 0
    for _ in range(200):
        best, start = (rng.random((2, 60)) < np.array([[0.5], [0.1]])).astype(float)
        found += is_ahead_on_same_seeds(windows(best), windows(start)) is True
    assert found / 200 >= 0.97


@pytest.mark.parametrize(
    ("best", "start", "ahead"),
    [
        ([0.0] * 100, [0.0] * 50, False),
        ([1.0] * 55 + [0.0] * 45, [0.0] * 50, True),
        ([1.0] + [0.0] * 99, [0.0] * 50, False),
        ([5000.0, 5100.0] * 50, [-1.0, 0.0, 1.0, 2.0, 3.0], True),
        ([1.0] * 10 + [0.0] * 10, [1.0] * 10 + [0.0] * 10, False),
    ],
)
def test_on_other_seeds(best: list[float], start: list[float], ahead: bool) -> None:
    span = (min(*best, *start), max(*best, *start))
    begun = start_of(windows(start), None, span)
    assert begun is not None
    assert is_ahead_apart(float(np.mean(best)), mean_interval(best, span), begun) is ahead
    assert is_ahead_apart(float(np.mean(best)), None, begun) is None
    assert is_ahead_apart(NAN, mean_interval(best, span), begun) is None


@pytest.mark.parametrize(
    ("best", "start", "ahead"),
    [
        ([-5.0, -4.0, -3.0, -6.0] * 5, [-10.0, -12.0, -14.0, -9.0] * 11, True),  # one of -60 would hide it elsewhere
        ([-5.0, -4.0, -3.0, -6.0] * 4 + [-60.0] * 4, [-10.0, -12.0, -14.0, -9.0] * 11, False),  # a lower mean is none
        ([0.0] * 20, [0.0] * 20, False),
        ([0.1] * 20, [0.1 - 1e-13] * 20, False),  # rounding wins nothing
        ([1.0] * 4 + [0.0] * 16, [0.0] * 45, False),
        ([1.0] * 8 + [0.0] * 12, [0.0] * 45, True),
        ([9.0, 8.0, 9.5, 9.9, 8.8], list(range(8)) * 5, False),  # a lucky candidate's first five
        ([5.0] * 2, [1.0] * 2, None),
        ([], [1.0] * 20, None),
    ],
)
def test_by_ranks(best: list[float], start: list[float], ahead: bool | None) -> None:
    assert is_ahead_by_ranks(windows(best), windows(start)) is ahead
    costs = [windows([-value for value in values]) for values in (best, start)]
    assert is_ahead_by_ranks(costs[0], costs[1], -1.0) is ahead


@pytest.mark.parametrize(
    ("score", "start", "target", "sign", "negligible"),
    [
        (-7e-5, -1.1e-4, 90.0, 1.0, True),
        (0.89, 0.0, 90.0, 1.0, True),
        (0.91, 0.0, 90.0, 1.0, False),
        (-5.0, 0.0, 90.0, 1.0, True),
        (95.0, 92.0, 90.0, 1.0, False),
        (9.8, 10.0, 0.0, -1.0, False),
        (9.95, 10.0, 0.0, -1.0, True),
        (-7e-5, -1.1e-4, None, 1.0, False),
        (math.nan, 0.0, 90.0, 1.0, False),
    ],
)
def test_a_hundredth_of_the_way_to_a_known_target_is_the_least_gain(
    score: float, start: float, target: float | None, sign: float, negligible: bool
) -> None:
    assert is_negligible(score, start, target, sign) is negligible


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "standard_exponential", "bernoulli"])
def test_the_luckiest_of_many_that_are_no_better_is_not_ahead_by_ranks(draw: str) -> None:
    rng, found = np.random.default_rng(1), 0

    def returns(count: int) -> list[float]:
        drawn = rng.random(count) < 0.1 if draw == "bernoulli" else getattr(rng, draw)(size=count)
        return drawn.astype(float).tolist()

    for _ in range(100):
        start = windows(returns(45))
        candidates = [returns(20) for _ in range(20)]
        found += is_ahead_by_ranks(windows(max(candidates, key=np.mean)), start) is True
    assert found <= 1


def test_the_start_is_what_was_played_before_anything_was_learned_or_else_the_first_window() -> None:
    first = EvalMetrics(7.0, {"score_std_err": 2.0, "episodes": 4.0})
    played = start_of(windows([1.0, 3.0]), first, (0.0, 9.0))
    assert played is not None
    assert (played.score, played.std_err) == (2.0, 1.0)
    assert played.interval == mean_interval([1.0, 3.0], (0.0, 9.0))
    found = start_of((), first)
    assert found is not None
    assert (found.score, found.std_err) == (7.0, 2.0)
    assert found.interval is not None
    assert found.interval.episodes == 4
    assert start_of((), None) is None
    assert (start_score(windows([1.0, 3.0]), first), start_score((), first), start_score((), None)) == (2.0, 7.0, None)


def curve_of(scores: Sequence[float]) -> ScoreCurve:
    curve = ScoreCurve()
    for n, score in enumerate(scores, 1):
        curve = curve.added(100 * n, float(score), 0.5)
    return curve


class TestHasRisen:
    FIRST = EvalMetrics(0.0, {"score_std_err": 1.0})

    @pytest.mark.parametrize(
        ("scores", "risen"),
        [
            ([0.0] * 4, None),  # too few
            ([0.0] * 50, False),
            ([*range(20), *[20.0] * 30], True),
            ([*[0.0] * 20, 9.0, *[0.0] * 20], False),  # one lucky window
        ],
    )
    def test_above_the_first_window(self, scores: list[float], risen: bool | None) -> None:
        assert has_risen_from(self.FIRST, curve_of(scores), ()) is risen

    @pytest.mark.parametrize(
        ("trained", "risen"),
        [([1.0, 1.2, 0.9] * 5, False), ([9.0, 9.5, 8.5] * 5, True), ([NAN] * 9, None), ([9.0], None)],
    )
    def test_a_validation_that_began_after_learning_says_nothing_where_training_has_risen(
        self, trained: list[float], risen: bool | None
    ) -> None:
        first = EvalMetrics(
            9.0, {"score_std_err": 0.1, "val_score": 9.0, "train_score": 1.0, "train_score_std_err": 0.2}
        )
        newest = [EvalMetrics(9.0, {"train_score": score}) for score in trained]
        assert has_risen_from(first, curve_of([9.0] * 20), newest) is risen


@pytest.mark.parametrize(
    ("episodes", "is_flat", "is_cut_short", "words"),
    [
        (0, True, False, "No training episode has ended"),
        (50, True, False, "Every episode had the return 0, so the reward was never seen, or there is no other"),
        (50, True, True, "Train longer first. Every episode"),
        (50, False, False, "Returns differ, but no policy came out ahead"),
        (50, False, True, "Train longer first. Returns differ"),
    ],
)
def test_the_advice_fits_what_was_seen(episodes: int, is_flat: bool, is_cut_short: bool, words: str) -> None:
    text = advice(episodes=episodes, is_flat=is_flat, score=0.0, is_cut_short=is_cut_short)
    assert text.startswith(words)
    assert any(remedy in text for remedy in ("window_size", "shape the reward"))


@pytest.mark.parametrize("is_flat", [True, False])
def test_a_start_that_may_be_optimal_is_named_where_no_target_tells(is_flat: bool) -> None:
    unknown, known = (
        advice(episodes=50, is_flat=is_flat, score=1.0, is_cut_short=False, has_target=has_target)
        for has_target in (False, True)
    )
    assert unknown == f"{known} {unknown[len(known) + 1 :]}"
    assert "If the start is as good as can be, nothing is wrong" in unknown
    assert "reward_threshold" in unknown


@pytest.mark.parametrize("is_flat", [True, False])
def test_a_threshold_set_by_hand_is_named_where_it_has_ended_the_run(is_flat: bool) -> None:
    given: dict[str, Any] = {"episodes": 50, "is_flat": is_flat, "score": 0.0, "is_by_hand": True}
    assert "Thresholds set by hand have ended the run; without them it waits longer" in advice(
        **given, is_cut_short=False
    )
    assert "by hand" not in advice(**given, is_cut_short=True)


def test_what_was_tried_is_not_advised() -> None:
    given: dict[str, Any] = {"episodes": 50, "is_flat": False, "score": 0.0, "is_cut_short": False}
    assert "(window_size), or another algorithm." in advice(**given)
    tried = advice(**given, has_tried_other=True)
    assert "Nor did one of another algorithm. Try" in tried
    assert "or a longer window (window_size)." in tried
