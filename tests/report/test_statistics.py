"""Aggregates of several runs, against hand-computed values and against what an interval must hold."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_optix.errors import MissingDependencyError
from tensor_optix.report.statistics import (
    curve_band,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    trimmed_mean,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([5.0], 5.0),
        ([1.0, 2.0, 6.0], 3.0),
        ([0.0, 1.0, 3.0, 100.0], 2.0),
        ([-50.0, -40.0, 1.0, 2.0, 3.0, 4.0, 90.0, 100.0], 2.5),
    ],
)
def test_the_interquartile_mean_is_that_of_the_middle_half(scores: list[float], expected: float) -> None:
    assert trimmed_mean(np.array(scores)) == pytest.approx(expected)
    assert interquartile_mean([np.array(scores)], rng()).value == pytest.approx(expected)


def test_the_interquartile_mean_is_over_all_environments_together() -> None:
    found = interquartile_mean([np.array([0.0, 1.0]), np.array([3.0, 100.0])], rng())
    assert found.value == pytest.approx(2.0)


def test_one_run_has_no_interval() -> None:
    found = interquartile_mean([np.array([1.0, 2.0]), np.array([3.0])], rng())
    assert (found.low, found.high) == (None, None)
    assert probability_of_improvement([np.array([1.0])], [np.array([2.0, 3.0])], rng()).low is None
    assert performance_profile([np.array([1.0])], np.array([0.0]), rng()).low is None
    assert curve_band(np.ones((1, 3)), rng()).low is None


def test_an_interval_is_as_wide_as_that_of_the_mean_of_a_normal_sample() -> None:
    # The 50% trimmed mean of normal scores has 1.19 times the variance of the mean.
    scores = rng().normal(10.0, 2.0, size=200)
    found = interquartile_mean([scores], rng())
    assert found.low is not None
    assert found.high is not None
    assert found.low < 10.0 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2.0 * 1.19**0.5 / 200**0.5, rel=0.2)


def test_strata_are_drawn_by_themselves() -> None:
    apart = interquartile_mean([np.full(4, 0.0), np.full(4, 10.0)], rng())
    assert (apart.low, apart.high) == (5.0, 5.0)  # drawn together, the halves would differ in size


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        ([[2.0, 3.0]], [[0.0, 1.0]], 1.0),
        ([[1.0, 3.0]], [[0.0, 2.0]], 0.75),
        ([[1.0, 1.0]], [[1.0, 1.0]], 0.5),
        ([[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]], 0.5),
        ([[5.0, 1.0, 3.0]], [[2.0, 2.0]], 2 / 3),
    ],
)
def test_an_improvement_counts_pairs_of_runs(
    better: list[list[float]], worse: list[list[float]], expected: float
) -> None:
    one, other = [np.array(x) for x in better], [np.array(x) for x in worse]
    found = probability_of_improvement(one, other, rng())
    assert found.value == pytest.approx(expected)
    assert probability_of_improvement(other, one, rng()).value == pytest.approx(1.0 - expected)
    assert found.low is not None
    assert found.high is not None
    assert 0.0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1.0 + 1e-9


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=6),
    st.lists(st.floats(-100, 100), min_size=2, max_size=6),
)
def test_an_improvement_is_the_statistic_of_mann_and_whitney(x: list[float], y: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.mannwhitneyu(x, y, alternative="greater", method="asymptotic").statistic / (len(x) * len(y))
    found = probability_of_improvement([np.array(x)], [np.array(y)], rng())
    assert found.value == pytest.approx(expected)


def test_a_profile_is_the_share_of_runs_above_each_threshold() -> None:
    band = performance_profile([np.array([1.0, 2.0]), np.array([3.0, 4.0])], np.array([0.0, 1.0, 2.5, 4.0]), rng())
    assert band.values.tolist() == [1.0, 0.75, 0.5, 0.0]
    assert band.low is not None
    assert band.high is not None
    assert (band.low <= band.values + 1e-9).all()
    assert (band.high >= band.values - 1e-9).all()
    assert band.low[2] == band.high[2] == pytest.approx(0.5)  # the strata do not mix


def test_a_band_is_at_each_point_that_of_the_runs() -> None:
    curves = np.stack([np.arange(5.0) + offset for offset in (0.0, 1.0, 2.0, 3.0)])
    band = curve_band(curves, rng())
    assert band.values.tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert band.low is not None
    assert band.high is not None
    assert (band.low < band.values).all()
    assert (band.high > band.values).all()


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = [np.arange(9.0)]
    assert interquartile_mean(scores, rng()) == interquartile_mean(scores, rng())


def test_without_scipy_the_message_has_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingDependencyError, match=r"a comparison needs scipy.*tensor-optix-core\[compare\]"):
        interquartile_mean([np.ones(3)], rng())
