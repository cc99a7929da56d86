"""Numbers that may be unknown, or small."""

import math

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
