"""The interval of a mean return: against simulation, against closed forms, and on what may not happen."""

import math

import numpy as np
import pytest

from tensor_optix.core.decisions.intervals import (
    LEVEL,
    METHOD,
    UNSEEN_WEIGHT,
    ScoreInterval,
    Span,
    mean_interval,
    mean_probability,
    score_interval,
    span_of,
    summary_interval,
)
from tensor_optix.errors import InvalidArgumentError

NAN = math.nan


@pytest.mark.parametrize("n", [3, 12, 60])
@pytest.mark.parametrize("unseen", [-5.0, 2.0])
def test_the_distribution_of_the_weighted_mean_is_the_simulated_one(n: int, unseen: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_t(3, n)
    weights = rng.gamma(np.append(np.ones(n), UNSEEN_WEIGHT), size=(100_000, n + 1))
    means = weights @ np.append(values, unseen) / weights.sum(axis=1)
    for share in (0.01, 0.025, 0.5, 0.975):
        found = mean_probability(values, np.ones(n), unseen, float(np.quantile(means, share)))
        assert found == pytest.approx(share, abs=0.004)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 100])
def test_for_equal_returns_the_unseen_one_has_the_weight_of_the_closed_form(n: int) -> None:
    """The weight of the unseen return is Beta(0.75, n); its quantile is near to 1 − 0.05^(1/n)."""
    interval = mean_interval([1.0] * n, (0.0, 1.0))
    weights = np.random.default_rng(0).beta(UNSEEN_WEIGHT, n, 400_000)
    assert 1.0 - interval.low == pytest.approx(np.quantile(weights, 0.975), rel=0.02)
    assert 1.0 - interval.low == pytest.approx(1.0 - 0.05 ** (1.0 / n), rel=0.06)
    assert interval.high == 1.0


def test_ten_successes_in_ten_episodes_are_not_certain() -> None:
    interval = mean_interval([1.0] * 10, (0.0, 1.0))
    assert (interval.method, interval.level, interval.episodes) == (METHOD, LEVEL, 10)
    assert interval.low == pytest.approx(0.728, abs=0.001)


@pytest.mark.parametrize("returns", [[0.0], [0.0] * 5, [-13.0] * 200, [1e-9] * 3, [500.0] * 10_000, [1e308] * 4])
@pytest.mark.parametrize("span", [None, (0.0, 0.0), (NAN, 3.0)])
def test_it_never_has_no_width(returns: list[float], span: Span | None) -> None:
    interval = mean_interval(returns, span)
    assert interval.low < interval.high
    low, _, high = interval.text()[1:-1].partition(", ")
    assert low != high


@pytest.mark.parametrize("n", [1, 2, 7, 100, 3000])
def test_it_holds_the_mean_and_stays_within_the_span(n: int) -> None:
    returns = np.random.default_rng(n).exponential(size=n)
    interval = mean_interval(returns.tolist(), (0.0, 12.0))
    assert 0.0 <= interval.low <= returns.mean() <= interval.high <= 12.0


def test_returns_beyond_the_span_widen_it() -> None:
    assert mean_interval([1.0, 2.0, 9.0], (0.0, 3.0)) == mean_interval([1.0, 2.0, 9.0], (0.0, 9.0))


def test_more_episodes_and_a_lower_level_narrow_it_and_a_wider_span_widens_it() -> None:
    def width(interval: ScoreInterval) -> float:
        return interval.high - interval.low

    returns = [1.0, 0.0, 1.0, 1.0]
    widths = [width(mean_interval(returns * times, (0.0, 1.0))) for times in (1, 2, 10, 100)]
    assert widths == sorted(widths, reverse=True)
    assert width(mean_interval(returns, (0.0, 1.0), level=0.5)) < widths[0]
    assert width(mean_interval(returns, (-10.0, 1.0))) > widths[0]


def test_shift_scale_and_reflection_carry_over() -> None:
    returns, span = [0.1, 0.4, 0.4, 2.0, 0.3], (0.0, 3.0)
    one = mean_interval(returns, span)
    moved = mean_interval([10.0 - 5.0 * value for value in returns], (-5.0, 10.0))
    assert moved.low == pytest.approx(10.0 - 5.0 * one.high)
    assert moved.high == pytest.approx(10.0 - 5.0 * one.low)


def test_with_many_episodes_it_is_the_normal_interval() -> None:
    returns = np.random.default_rng(1).normal(3.0, 2.0, 4000)
    interval = mean_interval(returns.tolist(), (-5.0, 11.0))
    error = 1.96 * returns.std() / math.sqrt(4000)
    assert interval.low == pytest.approx(returns.mean() - error, abs=0.1 * error)
    assert interval.high == pytest.approx(returns.mean() + error, abs=0.1 * error)


@pytest.mark.parametrize("n", [5, 20, 100])
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
def test_rare_disasters_that_training_has_shown_are_covered(n: int, rate: float) -> None:
    """Taxi: a start in a hundred from which the policy runs in circles until the time limit, at a return of −200."""
    rng = np.random.default_rng(n)
    is_disaster = rng.random((300, n)) < rate
    returns = np.where(is_disaster, -200.0, np.round(rng.normal(8.0, 2.6, (300, n))))
    truth = 8.0 * (1.0 - rate) - 200.0 * rate
    low = mean_probability(returns, np.ones(n), -200.0, truth)
    high = mean_probability(-returns, np.ones(n), -16.0, -truth)
    assert np.mean((low >= 0.025) & (high >= 0.025)) >= 0.93


def test_from_a_summary_it_is_the_one_of_returns_with_that_mean_and_error() -> None:
    assert summary_interval(5.0, 2.0, 2, (0.0, 9.0)) == mean_interval([3.0, 7.0], (0.0, 9.0))
    for n in (2, 3, 8, 9):
        interval = summary_interval(5.0, 0.5, n, (0.0, 10.0))
        assert interval.low < 5.0 < interval.high
        assert interval.episodes == n
    assert summary_interval(5.0, NAN, 1, (0.0, 10.0)) == mean_interval([5.0], (0.0, 10.0))


@pytest.mark.parametrize(
    ("score", "std_err", "episodes", "returns", "expected"),
    [
        (2.0, 1.0, 2.0, [1.0, 3.0], mean_interval([1.0, 3.0])),
        (7.0, 1.0, 2.0, [1.0, 3.0], summary_interval(7.0, 1.0, 2)),  # a score of another kind
        (7.0, 1.0, 2.0, [], summary_interval(7.0, 1.0, 2)),
        (7.0, NAN, 1.0, [], mean_interval([7.0])),
        (7.0, NAN, 2.0, [], None),
        (7.0, 1.0, NAN, [], None),
        (7.0, 1.0, 0.0, [], None),
        (NAN, 1.0, 2.0, [1.0, 3.0], None),
    ],
)
def test_a_score_has_an_interval_where_enough_is_known(
    score: float, std_err: float, episodes: float, returns: list[float], expected: ScoreInterval | None
) -> None:
    assert score_interval(score, std_err, episodes, returns) == expected


@pytest.mark.parametrize(
    ("values", "span"), [([], None), ([NAN], None), ([3.0], (3.0, 3.0)), ([2.0, NAN, -1.0, math.inf], (-1.0, 2.0))]
)
def test_the_span_is_that_of_what_is_finite(values: list[float], span: Span | None) -> None:
    assert span_of(values) == span


@pytest.mark.parametrize(
    ("low", "high", "digits", "text"),
    [
        (0.5, 1.0, 2, "[0.50, 1.00]"),
        (-13.0, 8.0, 1, "[-13.0, 8.0]"),
        (1.0, 1.0004, 2, "[1.00000, 1.00040]"),
        (1.0, 1.0, 2, "[1.00, 1.00]"),
    ],
)
def test_it_is_printed_with_as_many_decimals_as_its_width_needs(
    low: float, high: float, digits: int, text: str
) -> None:
    assert ScoreInterval(low=low, high=high, level=LEVEL, method=METHOD, episodes=1).text(digits) == text


@pytest.mark.parametrize(
    ("returns", "level", "message"),
    [
        ([], 0.95, "one or more finite numbers"),
        ([NAN], 0.95, "one or more finite numbers"),
        ([1.0], 1.0, r"level must be in \(0, 1\), but got 1.0. Use 0.95"),
    ],
)
def test_what_has_no_interval_is_refused(returns: list[float], level: float, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        mean_interval(returns, level=level)
    if returns and level == 1.0:
        with pytest.raises(InvalidArgumentError, match="episodes must be at least 1"):
            summary_interval(1.0, 0.0, 0)


def test_the_error_of_equal_returns_is_that_of_their_interval_and_any_other_stays() -> None:
    interval = mean_interval([500.0] * 5, (0.0, 500.0))
    assert interval.std_err(0.0) == pytest.approx((interval.high - interval.low) / 2.0 / 1.959964)
    assert interval.std_err(0.0) > 10.0
    assert interval.std_err(0.25) == 0.25
    assert math.isnan(interval.std_err(math.nan))
