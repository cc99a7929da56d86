"""Prices of a market that changes its ways, without end, the same for the same seed."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

FEATURES = ("change now", "change before", "lag-one product", "lag-two product", "log volatility")
"""What is seen of the market at each tick; changes are in units of the volatility of late."""

START = 100.0
_PULL = 1e-4  # towards START, so weak that nobody can trade on it: the price stays in sight for ever
_FAST, _SLOW = 0.05, 0.02
_BLOCK = 1024


class Regime(NamedTuple):
    """How the next change follows from the last two: cₜ₊₁ = φ₁·cₜ + φ₂·cₜ₋₁ + σ·ε, in per mille of the price."""

    name: str
    phi1: float
    phi2: float
    sigma: float


TRENDING = Regime("trending", 0.5, 0.0, 1.0)
RANGING = Regime("ranging", -0.5, 0.0, 1.0)
VOLATILE = Regime("volatile", 0.0, -0.5, 2.0)
REGIMES = (TRENDING, RANGING, VOLATILE)


class Tick(NamedTuple):
    """What the market says at a time."""

    sequence: int
    price: float
    change: float
    """Since the tick before, in per mille."""
    features: tuple[float, ...]
    """See `FEATURES`."""
    regime: str
    """What no trader is told."""


class Market:
    """A price whose changes follow from the last two, by a law that changes from time to time.

    Whoever follows the trend earns while it is trending, and loses when it is ranging; and the other way round.

    Args:
        seed: the same seed, the same prices.
        regime_length: mean number of ticks until the regime changes; how many is random (geometric).
        change_at: number of the tick at which the regime changes once and for all, from trending to ranging; None =
            changes at random, for ever.
    """

    def __init__(self, seed: int = 0, regime_length: float = 300.0, change_at: int | None = None) -> None:
        if not 1 <= regime_length < math.inf:
            raise ValueError(f"regime_length must be a number of ticks, at least 1, but got {regime_length!r}.")
        self.seed, self.regime_length, self.change_at = seed, regime_length, change_at

    def items(self, after: int | None = None) -> Iterator[Tick]:
        """Yield ticks 0, 1, 2, ... without end; those that follow number `after`, where it is given."""
        ticks = self._ticks()
        return ticks if after is None else (tick for tick in ticks if tick.sequence > after)

    def _ticks(self) -> Iterator[Tick]:
        noise, regimes = self._noise(), self._regimes()
        level = before = last = 0.0
        variance, product1, product2 = 1.0, 0.0, 0.0
        z = z_before = 0.0
        sequence = 0
        while True:
            regime = next(regimes)
            change = regime.phi1 * last + regime.phi2 * before + regime.sigma * next(noise) - _PULL * level
            level, before, last = level + change, last, change
            variance += _SLOW * (change * change - variance)
            z_two_before, z_before, z = z_before, z, _clipped(change / math.sqrt(variance))
            product1 += _FAST * (z * z_before - product1)
            product2 += _FAST * (z * z_two_before - product2)
            features = (z, z_before, product1, product2, 0.5 * math.log(variance))
            yield Tick(sequence, START * math.exp(level / 1000), change, features, regime.name)
            sequence += 1

    def _noise(self) -> Iterator[float]:
        rng = np.random.default_rng([self.seed, 0])
        while True:
            yield from rng.standard_normal(_BLOCK).tolist()

    def _regimes(self) -> Iterator[Regime]:
        if self.change_at is not None:
            for _ in range(self.change_at):
                yield TRENDING
            while True:
                yield RANGING
        rng = np.random.default_rng([self.seed, 1])
        now = int(rng.integers(len(REGIMES)))
        while True:
            for _ in range(int(rng.geometric(1 / self.regime_length))):
                yield REGIMES[now]
            now = (now + int(rng.integers(1, len(REGIMES)))) % len(REGIMES)


def _clipped(z: float) -> float:
    return min(max(z, -5.0), 5.0)
