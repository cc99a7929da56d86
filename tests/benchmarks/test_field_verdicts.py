"""What one row of a run says."""

import math
from typing import Any

import pytest

from benchmarks._field_tasks import Task
from benchmarks._field_verdicts import (
    first_of_level,
    gap,
    has_learned,
    has_right_exit_code,
    holds,
    intervals_agree,
    share_of_goal,
    steps_after,
    told_the_truth,
)

ROW: dict[str, Any] = {
    "reason": "converged",
    "exit_code": 0,
    "reported": 10.0,
    "reported_std_err": 3.0,
    "reported_low": 4.0,
    "reported_high": 16.0,
    "retest": 5.0,
    "retest_std_err": 4.0,
    "retest_low": -3.0,
    "retest_high": 13.0,
    "untrained": -20.0,
    "untrained_std_err": 3.0,
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 1.0),
        ({"reported": 15.0}, 2.0),
        ({"reported": -10.0}, -3.0),
        ({"reported_std_err": None, "retest_std_err": None}, math.inf),
        ({"reported_std_err": 0.0, "retest_std_err": 0.0, "reported": 5.0}, 0.0),
    ],
)
def test_the_gap_is_in_errors_of_the_difference(changed: dict[str, Any], expected: float) -> None:
    assert gap(ROW | changed) == pytest.approx(expected)
    assert holds(ROW | changed) is (abs(expected) <= 2.0)


@pytest.mark.parametrize("missing", ["reported", "retest"])
def test_what_is_missing_does_not_hold(missing: str) -> None:
    assert math.isnan(gap(ROW | {missing: None}))
    assert not holds(ROW | {missing: None})


@pytest.mark.parametrize(
    ("reported", "expected"), [(10.0, True), (15.0, True), (15.1, False), (-5.0, True), (-5.1, False)]
)
def test_intervals_agree_if_that_of_the_difference_holds_zero(reported: float, expected: bool) -> None:
    ends = {"reported_low": reported - 6.0, "reported_high": reported + 6.0}
    assert intervals_agree(ROW | ends | {"reported": reported}) is expected


def test_without_an_interval_the_errors_decide() -> None:
    assert intervals_agree(ROW | {"reported_low": None})
    assert not intervals_agree(ROW | {"reported_low": None, "reported": 30.0})


@pytest.mark.parametrize(("retest", "expected"), [(-9.0, True), (-10.0, False), (-25.0, False), (None, False)])
def test_what_is_not_clearly_ahead_of_the_untrained_policy_has_learned_nothing(
    retest: float | None, expected: bool
) -> None:
    assert has_learned(ROW | {"retest": retest}) is expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"reported": 16.0, "reported_low": 10.0}, False),
        ({"reported": 16.0, "reported_low": 5.0, "reported_std_err": 0.0, "retest_std_err": 0.0}, True),
        ({"reported": -50.0, "reported_high": -40.0}, True),
        ({"untrained": 5.0}, False),
        ({"untrained": 5.0, "reason": "nothing_learned", "exit_code": 3}, True),
        ({"untrained": 5.0, "reason": "nothing_learned"}, False),
        ({"untrained": 5.0, "reason": "interrupted", "exit_code": 130}, True),
        ({"reported": None, "retest": None, "reason": "max_episodes"}, True),
        ({"retest": None}, False),
    ],
)
def test_the_truth_is_no_higher_score_and_no_training_that_taught_nothing(
    changed: dict[str, Any], expected: bool
) -> None:
    assert told_the_truth(ROW | changed) is expected


@pytest.mark.parametrize(
    ("reason", "code", "expected"),
    [("converged", 0, True), ("converged", 3, False), ("interrupted", 130, True), ("another", 0, False)],
)
def test_the_exit_code_is_that_of_the_reason(reason: str, code: int, expected: bool) -> None:
    assert has_right_exit_code(ROW | {"reason": reason, "exit_code": code}) is expected


def test_the_scale_begins_at_the_untrained_policy_or_at_a_floor_above_it() -> None:
    plain = Task(env="E-v0", goal=30.0, source="s")
    floored = Task(env="E-v0", goal=30.0, source="s", floor=0.0)
    assert share_of_goal(ROW, plain) == pytest.approx(0.5)
    assert share_of_goal(ROW, floored) == pytest.approx(5.0 / 30.0)
    assert share_of_goal(ROW | {"untrained": 4.0}, floored) == pytest.approx(1.0 / 26.0)
    assert math.isnan(share_of_goal(ROW | {"retest": None}, plain))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.0, 0.0, 100.0, 95.0, 90.0], 2),
        ([100.0, 0.0, 0.0, 100.0, 100.0, 100.0], 3),
        ([0.0, 90.0, 94.0, 94.0], None),
        ([100.0, 100.0], None),
        ([], None),
    ],
)
def test_a_level_is_reached_where_evaluations_in_a_row_have_it(scores: list[float], expected: int | None) -> None:
    assert first_of_level(scores, start=0.0, level=100.0) == expected


def test_a_level_that_is_not_above_the_start_is_never_reached() -> None:
    assert first_of_level([0.0] * 9, start=0.0, level=0.0) is None


def test_steps_after_the_level_are_counted_in_those_before_it() -> None:
    assert steps_after({"steps_to_level": 400, "env_steps": 1000}) == 1.5
    assert steps_after({"steps_to_level": None, "env_steps": 1000}) == math.inf
