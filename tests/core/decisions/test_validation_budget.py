import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.decisions.validation_budget import (
    CONFIRMING_WINDOWS,
    ESCAPES_SHARE,
    FREE_SECONDS,
    FREE_STEPS,
    LEARNED_SHARE,
    SHORTEST_LIMIT,
    VALVE_SECONDS,
    ValidationBudget,
    ValidationSpent,
    cost_text,
    is_slow,
)
from tensor_optix.errors import InvalidArgumentError


@pytest.fixture(autouse=True)
def nothing_is_free(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "free" not in request.node.name.split("[")[0].split("_"):
        monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_STEPS", 0)


QUARTER, UNBOUNDED = ValidationBudget(share=0.25), ValidationBudget(share=None)


def test_a_quarter_of_all_steps_is_a_third_of_those_of_training_of_which_two_thirds_may_go_before_the_last_tests() -> (
    None
):
    assert QUARTER.steps(9_000, 1.0) == pytest.approx(3_000)
    assert QUARTER.steps(9_000) == pytest.approx(2_000)
    assert ValidationBudget(share=0.5).steps(9_000, 1.0) == pytest.approx(9_000)


def test_an_evaluation_is_afforded_if_one_as_long_as_the_newest_fits() -> None:
    spent = ValidationSpent(steps=1_500, newest=500)
    assert QUARTER.affords(9_000, spent)
    assert not QUARTER.affords(8_900, spent)
    assert not QUARTER.affords(9_000, spent, evaluations=2)


def test_the_first_evaluation_is_always_afforded() -> None:
    assert QUARTER.affords(1, ValidationSpent())


def test_the_last_tests_share_what_is_left_of_the_whole_budget() -> None:
    spent = ValidationSpent(steps=1_000, newest=100)
    assert QUARTER.last_windows(9_000, spent, 3, 20) == 6
    assert QUARTER.last_windows(90_000, spent, 3, 20) == 20
    assert QUARTER.last_windows(3_000, spent, 3, 20) == CONFIRMING_WINDOWS


@pytest.mark.parametrize(("steps", "windows"), [(3_500, 2), (5_700, 2), (5_701, 1), (5_800, 1), (5_801, 0)])
def test_where_nothing_is_left_a_few_windows_are_and_one_more_may_be_needed_before(steps: int, windows: int) -> None:
    spent = ValidationSpent(steps=steps, newest=100)
    assert QUARTER.last_windows(9_000, spent, 3, 20) == windows
    assert QUARTER.last_windows(9_000, spent, 3, 1) == min(windows, 1)


@pytest.mark.parametrize(
    ("training_steps", "limit"), [(100, 200), (20_000, 200), (100_000, 400), (1_000_000, 3_200), (10**9, 50_000)]
)
def test_before_an_episode_of_training_has_ended_one_of_validation_takes_an_eighth(
    training_steps: int, limit: int
) -> None:
    assert QUARTER.episode_limit(training_steps, 0, 5) == limit


@pytest.mark.parametrize(
    ("training_steps", "longest", "limit"),
    [
        (2_048, 5_000, 200),
        (30_000, 297, 400),
        (30_000, 700, 400),
        (100_000, 5_000, 800),
        (10_000_000, 20, 200),
        (10_000_000, 99, 200),
        (10_000_000, 399, 400),
        (10_000_000, 400, 800),
        (10_000_000, 5_000, 6_400),
        (10**9, 10**6, 50_000),
    ],
)
def test_an_episode_is_cut_at_twice_the_longest_as_far_as_the_budget_goes_with_the_free_steps(
    training_steps: int, longest: int, limit: int
) -> None:
    assert QUARTER.episode_limit(training_steps, longest, 5) == limit


def test_in_a_slow_simulator_no_free_steps_pay_for_ordinary_episodes() -> None:
    assert QUARTER.episode_limit(2_048, 297, 5, is_slow=True) == SHORTEST_LIMIT
    assert QUARTER.episode_limit(100_000, 1_000, 5, is_slow=True) == 800


@given(st.integers(1, 10**8), st.integers(1, 10**4), st.integers(1, 50))
def test_ordinary_episodes_of_training_are_not_cut_where_free_steps_or_others_pay_for_them(
    training_steps: int, longest: int, episodes: int
) -> None:
    limit = QUARTER.episode_limit(training_steps, longest, episodes)
    assert limit is not None
    assert limit > longest or 2 * limit * episodes > QUARTER.steps(training_steps) / 4


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**4)), min_size=2, max_size=20))
def test_the_bound_doubles_so_that_most_scores_compare(moments: list[tuple[int, int]]) -> None:
    limits = {QUARTER.episode_limit(steps, longest, 5) for steps, longest in moments}
    assert limits <= {200 * 2**k for k in range(8)} | {50_000}


@given(st.integers(1, 10**8), st.integers(0, 10**6), st.integers(1, 50))
def test_an_evaluation_whose_episodes_do_not_end_costs_a_quarter_of_the_budget_or_the_shortest_episodes(
    training_steps: int, longest: int, episodes: int
) -> None:
    limit = QUARTER.episode_limit(training_steps, longest, episodes)
    assert limit is not None
    assert limit * episodes <= max(QUARTER.steps(training_steps) / 4, SHORTEST_LIMIT * episodes)


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 20_000)), min_size=1, max_size=200))
def test_the_share_is_held_up_to_one_evaluation(windows: list[tuple[int, int]]) -> None:
    trained, spent, dearest = 0, ValidationSpent(), 0
    for steps, cost in windows:
        trained += steps
        if QUARTER.affords(trained, spent):
            spent = ValidationSpent(steps=spent.steps + cost, newest=cost)
            dearest = max(dearest, cost)
        assert spent.steps <= QUARTER.steps(trained) + dearest


def test_the_first_steps_are_free_where_they_are_fast() -> None:
    spent = ValidationSpent(steps=1_666, newest=5_000)
    assert QUARTER.affords(1, spent)
    assert not QUARTER.affords(1, replace(spent, steps=1_667))
    assert not QUARTER.affords(1, replace(spent, is_slow=True))
    assert QUARTER.left(9_000, spent, 1.0) == pytest.approx(FREE_STEPS + 3_000 - 1_666)


def test_no_steps_are_free_where_so_many_would_take_too_long() -> None:
    assert not is_slow(FREE_SECONDS / FREE_STEPS)
    assert is_slow(1.01 * FREE_SECONDS / FREE_STEPS)


def test_without_a_share_everything_is_afforded_and_nothing_is_cut() -> None:
    spent = ValidationSpent(steps=10**9, newest=10**9)
    assert UNBOUNDED.affords(1, spent, 100)
    assert UNBOUNDED.steps(1) == math.inf
    assert UNBOUNDED.last_windows(1, spent, 3, 20) == 20
    assert UNBOUNDED.episode_limit(1, 10**6, 5) is None
    assert not UNBOUNDED.is_overrun(ValidationSpent(steps=10**9), 1e9, 1e9)


def test_the_valve_opens_at_twice_the_share_of_the_time_and_not_in_the_first_minute() -> None:
    spent = ValidationSpent(steps=1, newest=1)
    assert not QUARTER.is_overrun(spent, VALVE_SECONDS, VALVE_SECONDS)
    assert QUARTER.is_overrun(spent, 61.0, 121.0)
    assert not QUARTER.is_overrun(spent, 61.0, 122.0)
    assert not QUARTER.is_overrun(ValidationSpent(), 61.0, 61.0)


def test_what_the_untrained_policy_has_taken_does_not_count() -> None:
    spent = ValidationSpent(steps=7_500, start=6_000, newest=500)
    assert QUARTER.left(9_000, spent) == pytest.approx(500)
    assert QUARTER.affords(9_000, spent)
    assert not QUARTER.affords(9_000, replace(spent, start=5_999))
    assert not QUARTER.is_overrun(replace(spent, steps=6_000), 1e6, 1e6)


def test_of_a_small_share_the_valve_opens_at_half_of_the_time() -> None:
    spent = ValidationSpent(steps=1, newest=1)
    assert ValidationBudget().is_overrun(spent, 61.0, 121.0)
    assert not ValidationBudget().is_overrun(spent, 61.0, 123.0)


def test_what_the_untrained_policy_has_taken_does_not_put_off_the_first_evaluation() -> None:
    spent = ValidationSpent(steps=2_000, is_slow=True)
    assert not QUARTER.is_overrun(spent, 1e6, 1e6)
    assert QUARTER.is_overrun(replace(spent, newest=1), 1e6, 1e6)


def test_the_time_of_the_free_steps_opens_no_valve() -> None:
    within, beyond = (ValidationSpent(steps=n * FREE_STEPS, newest=1) for n in (1, 3))
    assert not QUARTER.is_overrun(within, 1e6, 1e6)
    assert QUARTER.is_overrun(replace(within, is_slow=True), 1e6, 1e6)
    assert QUARTER.is_overrun(beyond, 300.0, 399.0)
    assert not QUARTER.is_overrun(beyond, 300.0, 401.0)


@given(st.integers(1, 10**7), st.floats(100.0, 1e6), st.floats(0.01, 1.0), st.floats(1.0, 100.0))
def test_free_steps_or_not_the_valve_does_not_hang_on_the_speed_of_the_machine_after_the_first_minute(
    steps: int, total: float, share: float, load: float
) -> None:
    spent = ValidationSpent(steps=steps, newest=steps)
    alone, loaded = (QUARTER.is_overrun(spent, k * share * total, k * total) for k in (1e6, 1e6 * load))
    assert alone == loaded


def test_what_was_put_off_for_the_time_is_told_from_the_rest() -> None:
    cost = {"steps": 1_000, "put_off": 7, "by_clock": 3, "cut": 0}
    assert cost_text(cost, 3_000) == (
        "25% of all, 7 evaluations put off, 3 of them for the time, so it does not repeat exactly"
    )


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2, math.nan, "a quarter", True])
def test_a_share_that_is_none_is_refused_with_the_remedy(share: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"validation_share must be above 0 and below 1, or None for no bound"
    ):
        ValidationBudget(share=share)


def test_what_the_tests_before_the_first_escape_leave_is_for_the_escapes() -> None:
    spent = ValidationSpent(steps=int(QUARTER.steps(9_000, LEARNED_SHARE)), newest=100)
    assert not QUARTER.affords(9_000, spent)
    assert QUARTER.affords(9_000, spent, 2, ESCAPES_SHARE)
    assert not QUARTER.affords(9_000, spent, 3, ESCAPES_SHARE)
    assert QUARTER.last_windows(9_000, spent, 3, 20, LEARNED_SHARE) == 0
