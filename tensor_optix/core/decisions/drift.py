"""Has the score of a policy that does not change fallen? A detector is told every score, and says so."""

import bisect
import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, Protocol, runtime_checkable

from tensor_optix.core.decisions.trend import degradation_drop
from tensor_optix.errors import InvalidArgumentError

_OVERSHOOT = 1.166
"""By how much the sum passes its threshold, in Siegmund's approximation."""
_MOST = 250
"""Scores that the calm is remembered by."""
_NORMAL = NormalDist()


@runtime_checkable
class DriftDetector(Protocol):
    """Tells drift from noise, one score at a time."""

    def update(self, score: float) -> bool:
        """Take the next score, a finite number, and return whether drift is seen by now."""
        ...

    def reset(self) -> None:
        """Begin anew: the policy is another one, or the world is."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what it knows, as plain JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        ...


class PageHinkley:
    """Page-Hinkley on standardised scores: sees a fall of their level, and knows how often it is wrong.

        gₜ = max(0, gₜ₋₁ − zₜ − k)     drift where gₜ > h     k = min_shift / 2

    z = Φ⁻¹((r − ½) / n) of the score that is the r-th of n so far: whatever their distribution and however heavy its
    tails, the z of independent scores are all but independent standard normal ones. So one wild score counts no more
    than any other lowest, noise and level are learned as the scores come, and h follows from the wanted rate of false
    alarms alone, by Siegmund's approximation of the mean time to one:

        1 / rate = (exp(x) − x − 1) λ² / (2k²),  x = 2kb / λ²,  b = h + 1.166 λ,  λ² = (1 + ρ) / (1 − ρ)

    λ² is by how much the sum of scores that depend on each other spreads more than that of independent ones, where the
    correlation ρ from each to the next fades geometrically. A rise is no drift: who does better than before need not be
    woken. The first 250 scores stay what is compared with, so that a slow fall is seen, too.

    E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); D. V. Hinkley, "Inference about the change-point
    from cumulative sum tests", Biometrika 58 (1971); D. Siegmund, "Sequential Analysis" (1985); ranks: F. Lombard and
    C. van Zyl, "Signed sequential rank CUSUMs" (2018).

    Args:
        false_alarm_rate: alarms per window where nothing changes, in (0, 0.5).
        min_shift: the fall that is to be seen soonest, in standard deviations of a score.
        degradation_threshold: share of the calm level that must be held: a fall by less is none.
        min_degradation_drop: smallest fall that counts, in units of the score.
        correlation: of neighbouring scores where nothing changes, up to which the rate is kept, in [0, 1).

    Raises:
        InvalidArgumentError: an argument out of its range.
    """

    def __init__(
        self,
        false_alarm_rate: float = 0.001,
        min_shift: float = 1.0,
        degradation_threshold: float = 0.95,
        min_degradation_drop: float = 0.0,
        correlation: float = 0.2,
    ) -> None:
        if not 0.0 < false_alarm_rate < 0.5:
            raise InvalidArgumentError(f"false_alarm_rate must be in (0, 0.5), but got {false_alarm_rate!r}.")
        if not 0.0 < min_shift < math.inf:
            raise InvalidArgumentError(f"min_shift must be positive and finite, but got {min_shift!r}.")
        if not 0.0 < degradation_threshold <= 1.0:
            raise InvalidArgumentError(f"degradation_threshold must be in (0, 1], but got {degradation_threshold!r}.")
        if not min_degradation_drop >= 0.0:
            raise InvalidArgumentError(f"min_degradation_drop must not be negative, but got {min_degradation_drop!r}.")
        if not 0.0 <= correlation < 1.0:
            raise InvalidArgumentError(f"correlation must be in [0, 1), but got {correlation!r}.")
        self._allowance = min_shift / 2.0
        self._tolerated = (degradation_threshold, min_degradation_drop)
        spread = math.sqrt((1.0 + correlation) / (1.0 - correlation))
        self.threshold = _threshold(false_alarm_rate, self._allowance, spread)
        """h, in standard deviations of a score."""
        self.reset()

    def reset(self) -> None:
        """Forget every score."""
        self._calm: list[float] = []
        self._fall = 0.0

    def update(self, score: float) -> bool:
        """Take the next score and return whether its level has fallen by now."""
        self._fall = max(0.0, self._fall - self._standardised(score) - self._allowance)
        if len(self._calm) < _MOST:
            bisect.insort(self._calm, score)
        return self._fall > self.threshold

    def _standardised(self, score: float) -> float:
        if not self._calm:
            return 0.0
        level = self._calm[len(self._calm) // 2]
        if level - degradation_drop(level, *self._tolerated) <= score < level:
            score = level  # what may be lost is not counted as lost
        # Equals share the rank in their middle.
        rank = (bisect.bisect_left(self._calm, score) + bisect.bisect_right(self._calm, score)) / 2 + 1
        return _NORMAL.inv_cdf((rank - 0.5) / (len(self._calm) + 1))

    def state_dict(self) -> dict[str, Any]:
        """Return the calm scores and the sum."""
        return {"calm": list(self._calm), "fall": self._fall}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._calm, self._fall = [float(score) for score in state["calm"]], float(state["fall"])


def _threshold(rate: float, k: float, spread: float) -> float:
    """Solve the formula of `PageHinkley` for h, where sums spread λ = `spread` times as far as independent ones."""
    k /= spread  # in units of λ it is the formula for independent scores
    low, high = 0.0, 400.0 / k
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        x = 2.0 * k * middle
        too_low = x < 700.0 and (math.exp(x) - x - 1.0) / (2.0 * k * k) < 1.0 / rate
        low, high = (middle, high) if too_low else (low, middle)
    return max(high - _OVERSHOOT, 0.0) * spread
