from collections.abc import Sequence

import numpy as np
import pytest

from tensor_optix.core.decisions.candidacy import (
    FEWEST_EPISODES,
    could_be_ahead,
    is_behind,
    is_clearly_ahead,
    is_surely_ahead,
)
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.types import EvalMetrics, PlayedWindow


def shown(*returns: float, lower_is_better: bool = False) -> tuple[tuple[PlayedWindow, ...], EvalMetrics]:
    score = float(np.mean(returns))
    window = PlayedWindow(seeds=tuple(range(len(returns))), returns=returns, score=score)
    errors = {"score_std_err": standard_error(returns)}
    return (window,), EvalMetrics(score, errors, lower_is_better=lower_is_better)


@pytest.mark.parametrize(
    ("score", "error", "margin", "could_be"),
    [(5.1, 0.0, 0.0, True), (4.0, 0.5, 0.0, False), (4.0, 1.5, 0.0, True), (4.0, 1.5, 1.0, False)],
)
def test_one_that_is_behind_by_no_more_than_its_error_could_be_ahead(
    score: float, error: float, margin: float, could_be: bool
) -> None:
    metrics = EvalMetrics(score, {"score_std_err": error})
    assert could_be_ahead(metrics, EvalMetrics(5.0, {"score_std_err": float("nan")}), margin) is could_be


@pytest.mark.parametrize(
    ("returns", "behind"),
    [
        ((1.0, 2.0, 1.0, 2.0, 1.0), True),
        ((1.0,) * FEWEST_EPISODES, True),
        ((1.0,) * (FEWEST_EPISODES - 1), False),  # nothing tells their error
        ((0.0, 9.0, 4.0, 5.0, 5.0), False),  # behind by less than it
        ((2.0, 2.0, 3.0, 7.0, 2.0), False),  # behind by more than it, and by less than twice as much
        ((9.0,) * FEWEST_EPISODES, False),
    ],
)
def test_one_is_behind_if_enough_episodes_say_so(returns: Sequence[float], behind: bool) -> None:
    assert is_behind(shown(*returns), EvalMetrics(5.0, {"score_std_err": 0.5}), 0.0) is behind


def test_grades_are_no_scores() -> None:
    best = EvalMetrics(5.0, {"score_std_err": 0.5}, grade=1.0)
    assert not is_behind(shown(*[1.0] * FEWEST_EPISODES), best, 0.0)


def test_lower_scores_may_be_better() -> None:
    best = shown(*[5.0, 6.0] * 5, lower_is_better=True)
    assert is_behind(shown(*[9.0] * 5, lower_is_better=True), best[1], 0.0)
    assert is_clearly_ahead(shown(*[1.0] * 5, lower_is_better=True), best)


@pytest.mark.parametrize(
    ("candidate", "best", "surely", "clearly"),
    [
        ((1.0,) * 10, (1.0,) * 19 + (0.0,), False, False),  # ten in ten do not beat nineteen in twenty
        ((1.0,) * 10, (1.0, 0.0) * 6, True, True),
        ((1.0,) * 10, (1.0, 1.0, 1.0, 1.0, 0.0) * 2, True, False),
        ((1.0,) * 4, (0.0,) * 20, True, False),  # too few to be clearly ahead
    ],
)
def test_bounds_tell_whether_one_is_ahead(
    candidate: Sequence[float], best: Sequence[float], surely: bool, clearly: bool
) -> None:
    found = is_surely_ahead(shown(*candidate), shown(*best)), is_clearly_ahead(shown(*candidate), shown(*best))
    assert found == (surely, clearly)


def test_without_bounds_the_score_is_sure_and_nothing_is_clear() -> None:
    unknown = (), EvalMetrics(3.0)
    assert is_surely_ahead(unknown, shown(1.0))
    assert not is_clearly_ahead(unknown, shown(1.0))
