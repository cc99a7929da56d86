"""What stands for a number that is not known, and how a small one is shown."""

import math
from collections.abc import Callable

import pytest

from tensor_optix.support.numbers import crossing, decimals_of, finite_or_zero


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


CROSSED: dict[str, tuple[Callable[[float], float], float]] = {
    "a line": (lambda x: x - 0.3, 0.3),
    "a power": (lambda x: x**9 - 1e-9, 0.1),
    "steep": (lambda x: math.tanh(1e4 * (x - 0.7)), 0.7),
    "flat but for a step": (lambda x: -1.0 if x < 0.123 else 1.0, 0.123),
    "zero for a while": (lambda x: min(x - 0.5, 0.0) + max(x - 0.6, 0.0), 0.5),
    "at the beginning": (lambda x: -1.0 if x <= 0.0 else 1.0, 0.0),
}


@pytest.mark.parametrize("name", CROSSED)
def test_a_crossing_is_found_from_below(name: str) -> None:
    function, expected = CROSSED[name]
    found = crossing(function, 0.0, 1.0, 1e-9)
    assert function(found) < 0.0
    assert expected - 1e-9 <= found <= expected


def test_a_smooth_function_is_asked_a_dozen_times() -> None:
    asked: list[float] = []

    def beta(x: float) -> float:
        asked.append(x)
        return x**3 * (4.0 - 3.0 * x) - 0.025

    assert beta(crossing(beta, 0.0, 1.0, 2.0**-36)) == pytest.approx(0.0, abs=1e-9)
    assert len(asked) <= 16


def test_what_is_not_above_zero_at_the_end_is_not_crossed() -> None:
    assert crossing(lambda _: -1.0, 0.0, 2.0, 1e-9) == 2.0
    assert crossing(lambda _: 0.0, 2.0, 2.0, 1e-9) == 2.0
