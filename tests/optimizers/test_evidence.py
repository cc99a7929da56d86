"""What a probe costs, what it has to show, and when it is worth beginning: numbers worked out by hand."""

import json
import math
from typing import Any

import pytest

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.optimizers._evidence import (
    LONGEST_PROBE,
    TREND_SCORES,
    Probe,
    ProbeBudget,
    ScoreRange,
    expected_score,
    probe_length,
    settles,
)


def test_a_probe_comes_back_from_json() -> None:
    probe = Probe("gamma", 0.9, 0.95, 1, 0.5, 3, (1.0, 2.0), 7)
    assert Probe.from_dict(json.loads(json.dumps(vars(probe)))) == probe


class TestBudget:
    def test_windows_are_counted_between_evaluations_and_each_is_one_at_least(self) -> None:
        budget = ProbeBudget()
        assert [budget.count(window) for window in (4, 6, 6, 2)] == [1, 2, 1, 1]
        assert (budget.windows, budget.newest) == (5, 2)

    def test_a_first_probe_of_one_window_may_begin_before_its_share_of_the_run(self) -> None:
        assert ProbeBudget().allows(1)
        assert not ProbeBudget().allows(2)
        assert not ProbeBudget(windows=3, spent=1).allows(1)

    @pytest.mark.parametrize(("windows", "allowed"), [(112, True), (111, False)])
    def test_later_ones_keep_to_their_share(self, windows: int, allowed: bool) -> None:
        # 10 + 8 of 112 + 8 windows are 15 %.
        assert ProbeBudget(windows=windows, spent=10).allows(8) is allowed

    def test_a_probe_that_is_kept_earns_twice_its_windows_and_never_more_than_was_spent(self) -> None:
        budget = ProbeBudget(windows=100, spent=10)
        budget.earn(3)
        assert budget.spent == 4
        budget.earn(3)
        assert budget.spent == 0


def test_the_range_holds_every_score() -> None:
    scores = ScoreRange()
    assert scores.extent == 0.0
    for score in (3.0, -1.0, 2.0):
        scores.include(score)
    assert (scores.lowest, scores.highest, scores.extent) == (-1.0, 3.0, 4.0)


class TestLength:
    @pytest.mark.parametrize(
        ("std_err", "extent", "length"),
        [
            (0.0, 0.0, 1),  # nothing is known of the noise
            (0.25, 10.0, 1),  # 2·(2·0.25/1)² = 0.5
            (0.5, 10.0, 2),  # 2·(2·0.5/1)² = 2
            (0.75, 10.0, 5),  # 4.5
            (1.0, 10.0, LONGEST_PROBE),
            (1.01, 10.0, None),
            (0.5, 0.0, None),  # scores that have not moved leave nothing to be shown
        ],
    )
    def test_a_probe_is_as_long_as_its_effect_needs(self, std_err: float, extent: float, length: int | None) -> None:
        assert probe_length(std_err, extent) == length


class TestExpectedScore:
    def test_scores_without_a_trend_expect_exactly_their_score(self) -> None:
        expected, error = expected_score([(n, 0.1) for n in range(9)], 2, 12.0)
        assert expected == 0.1
        assert error > 0.0

    def test_a_straight_line_is_gone_on_with(self) -> None:
        expected, _ = expected_score([(n, 2.0 * n + 1.0) for n in range(9)], 3, 10.5)
        assert expected == pytest.approx(22.0)

    def test_only_the_newest_count(self) -> None:
        newest = [(n, 2.0 * n) for n in range(10, 10 + TREND_SCORES)]
        assert expected_score([(0, -1e6), *newest], 1, 16.0) == expected_score(newest, 1, 16.0)

    def test_a_single_score_is_what_is_expected_with_its_own_error(self) -> None:
        assert expected_score([(3, 5.0)], 4, 6.0) == (5.0, 1.0)

    def test_the_further_ahead_the_less_is_known(self) -> None:
        scores = [(n, float(n % 2)) for n in range(9)]
        errors = [expected_score(scores, 1, at)[1] for at in (9.0, 12.0, 20.0)]
        assert errors == sorted(errors)


@pytest.mark.parametrize(
    ("gain", "is_over", "settled"),
    [
        (2.1, True, True),
        (2.0, True, False),
        (-2.1, True, True),
        (2.1, False, False),
        (3.1, False, True),
        (-3.1, False, True),
    ],
)
def test_a_gain_settles_a_probe_beyond_its_noise_and_early_only_beyond_doubt(
    gain: float, is_over: bool, settled: bool
) -> None:
    assert settles(gain, 1.0, is_over) is settled
    assert not settles(math.nan, 1.0, is_over)


PROBE = {"name": "x", "original": 1.0, "applied": 1.1, "direction": 1, "std_err": 0.1, "scores": [1.0], "windows": 3}


@pytest.mark.parametrize("wrong", [{"length": 10**9}, {"length": 0}, {"windows": -1}, {"std_err": "0"}, {"more": 1}])
def test_a_saved_probe_that_no_run_can_have_is_refused(wrong: dict[str, Any]) -> None:
    assert Probe.from_dict(PROBE).scores == (1.0,)
    with pytest.raises(CheckpointCorruptError, match=next(iter(wrong)) if "length" not in wrong else "evaluations"):
        Probe.from_dict(PROBE | wrong)


@pytest.mark.parametrize("wrong", [{"spent": -(10**9)}, {"windows": -1}, {"newest": -1}, {"spent": 0.5}])
def test_a_saved_budget_of_probes_that_no_run_can_have_is_refused(wrong: dict[str, Any]) -> None:
    assert ProbeBudget.from_dict(vars(ProbeBudget(20, 3, 19))) == ProbeBudget(20, 3, 19)
    with pytest.raises(CheckpointCorruptError, match=r"budget|spent"):
        ProbeBudget.from_dict(vars(ProbeBudget()) | wrong)
