import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.support.bounds import are_wide, has_bounds

LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [
        (-1.0, 1.0, True),
        (-1e9, 1e9, True),
        (0.0, np.inf, False),
        (-np.inf, 0.0, False),
        (-LARGEST, LARGEST, False),
        (0.0, LARGEST, False),
        (-1e30, 0.0, False),
    ],
)
def test_numbers_that_stand_for_infinity_are_no_bounds(low: float, high: float, bounds: bool) -> None:
    assert has_bounds(spaces.Box(low, high, (2,), np.float32)) is bounds


@pytest.mark.parametrize(("half", "wide"), [(2.0, False), (500_000.0, False), (500_001.0, True), (1e20, True)])
def test_bounds_are_wide_beyond_a_million(half: float, wide: bool) -> None:
    assert are_wide(spaces.Box(-half, half, (2,), np.float64)) is wide
    assert are_wide(spaces.Box(np.array([0.0, -half]), np.array([1.0, half]), dtype=np.float64)) is wide


def test_differences_of_small_floats_do_not_overflow() -> None:
    assert not are_wide(spaces.Box(-60_000.0, 60_000.0, (1,), np.float16))
