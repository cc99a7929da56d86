"""Numbers that may be unknown, or small, and the one at which a function crosses zero."""

import math
from collections.abc import Callable

_MOST_DECIMALS = 12


def finite_or_zero(value: float) -> float:
    """Return a value, or 0.0 where it is unknown (NaN) or infinite: the standard error of a score without episodes."""
    return value if math.isfinite(value) else 0.0


def decimals_of(value: float, digits: int, significant: int | None = None) -> int:
    """Return with how many decimals a number is shown: more than usual for a small one, such as -0.0055.

    Args:
        value: the number.
        digits: decimals at least.
        significant: significant digits at least; None = as many as `digits`.
    """
    if value == 0.0 or not math.isfinite(value):
        return digits
    needed = (digits if significant is None else significant) - 1 - math.floor(math.log10(abs(value)))
    return min(max(digits, needed), max(digits, _MOST_DECIMALS))


def crossing(function: Callable[[float], float], low: float, high: float, precision: float) -> float:
    """Return the last point known to lie below where a rising function crosses 0 between two points.

    Each step halves the bracket, or cuts it where the parabola through its last three points crosses, if that is sure
    to be better.

    Args:
        function: below 0 at `low`; where it is not above 0 at `high`, that is returned.
        low: one end.
        high: the other.
        precision: width of the last bracket, as a share of the first one.

    Source: "A New Hybrid Quadratic/Bisection Algorithm for Finding the Zero of a Nonlinear Function without Using
    Derivatives", Chandrupatla, 1997.
    """
    x, other, y, at_other = high, low, function(high), function(low)
    if y <= 0.0:
        return high
    tolerance, share = precision * (high - low), 0.5
    while abs(other - x) > tolerance:
        point = x + share * (other - x)
        value = function(point)
        if (value < 0.0) is (y < 0.0):
            last, at_last = x, y
        else:
            last, at_last, other, at_other = other, at_other, x, y
        x, y = point, value
        place, height = (x - other) / (last - other), (y - at_other) / (at_last - at_other)
        share = 0.5
        if height**2 < place and (1.0 - height) ** 2 < 1.0 - place:
            share = y / (at_other - y) * at_last / (at_other - at_last)
            share += (last - x) / (other - x) * y / (at_last - y) * at_other / (at_last - at_other)
        least = min(0.5, tolerance / abs(other - x)) if other != x else 0.5
        share = min(max(share, least), 1.0 - least)
    return min(x, other)
