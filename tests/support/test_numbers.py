"""What stands for a number that is not known, and how a small one is shown."""

import math

import pytest

from tensor_optix.support.numbers import decimals_of, finite_or_zero


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 0.5), (-2.0, -2.0), (math.nan, 0.0), (math.inf, 0.0), (-math.inf, 0.0)]
)
def test_what_is_not_finite_counts_as_zero(value: float, expected: float) -> None:
    assert finite_or_zero(value) == expected


@pytest.mark.parametrize(
    ("value", "digits", "significant", "decimals"),
    [
        (500.0, 2, None, 2),
        (-0.0055, 2, None, 4),
        (0.0, 2, None, 2),
        (math.nan, 2, None, 2),
        (0.00005, 4, 2, 6),
        (0.8732, 4, 2, 4),
        (1e-30, 2, None, 12),
    ],
)
def test_small_numbers_have_more_decimals(value: float, digits: int, significant: int | None, decimals: int) -> None:
    assert decimals_of(value, digits, significant) == decimals
