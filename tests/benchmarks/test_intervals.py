import numpy as np
import pytest

from benchmarks.intervals import GOAL, RETURNS, SPANS, Returns, coverage
from tensor_optix.core.decisions.intervals import mean_interval


@pytest.mark.parametrize("returns", RETURNS, ids=lambda one: one.name)
def test_the_stated_mean_is_that_of_the_returns(returns: Returns) -> None:
    drawn = returns.draw(np.random.default_rng(0), (400, 500))
    error = drawn.mean(axis=1).std() / 20.0
    assert drawn.mean() == pytest.approx(returns.mean, abs=4.0 * error)


@pytest.mark.parametrize("n", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_with_the_range_of_the_training_the_goal_is_met(n: int) -> None:
    rng = np.random.default_rng(2)
    assert min(coverage(one, n, SPANS[0], rng, samples=1500) for one in RETURNS) >= GOAL - 0.01


def test_the_coverage_is_that_of_the_interval_which_is_shown() -> None:
    one = RETURNS[3]
    drawn = one.draw(np.random.default_rng(5), (60, 8))
    held = [i.low <= one.mean <= i.high for i in (mean_interval(row.tolist(), one.trained) for row in drawn)]
    assert coverage(one, 8, "training", np.random.default_rng(5), samples=60) == np.mean(held)
