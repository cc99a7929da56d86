"""Numbers that may be unknown."""

import math


def finite_or_zero(value: float) -> float:
    """Return a value, or 0.0 where it is unknown (NaN) or infinite: the standard error of a score without episodes."""
    return value if math.isfinite(value) else 0.0
