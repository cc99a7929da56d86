"""What stands for a number that is not known."""

import math

import pytest

from tensor_optix.support.numbers import finite_or_zero


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 0.5), (-2.0, -2.0), (math.nan, 0.0), (math.inf, 0.0), (-math.inf, 0.0)]
)
def test_what_is_not_finite_counts_as_zero(value: float, expected: float) -> None:
    assert finite_or_zero(value) == expected
