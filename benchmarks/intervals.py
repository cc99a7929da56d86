"""Does the interval of a score cover the true mean as often as it says? Simulated returns, no training.

Each policy's returns have a known mean. A run has seen a range of returns before, from worse policies or from as many
episodes of this one; the interval is told that range, or nothing.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from benchmarks._results import Row, table
from benchmarks._suite import Measurement, Options
from tensor_optix.core.decisions.intervals import LEVEL, METHOD, mean_probability

TITLE = "Calibration of intervals"
EPISODES = (5, 10, 20, 50, 100, 200)
SAMPLES = 2000
SEEN = 500
"""Episodes in which a run has seen the range of a policy's returns, where no worse policy has widened it."""
GOAL = 0.93
SPANS = ("training", "own", "none")
"""What the interval is told: the range of a training that has also seen worse, of this policy alone, or nothing."""

Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Returns:
    """A policy: how its returns are distributed, their mean, and what training had seen before it."""

    name: str
    draw: Draw
    mean: float
    trained: tuple[float, float]
    """Lowest and highest return of the whole training."""


def _disasters(rate: float) -> Returns:
    """Return Taxi's policy: some starts from which it runs in circles until the time limit."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return np.where(rng.random(shape) < rate, -200.0, np.round(rng.normal(8.0, 2.6, shape)))

    return Returns(name=f"Taxi, {rate:.1%} at -200", draw=draw, mean=8.0 - 208.0 * rate, trained=(-800.0, 15.0))


def _successes(rate: float) -> Returns:
    return Returns(
        name=f"success rate {rate:g}",
        draw=lambda rng, shape: (rng.random(shape) < rate).astype(np.float64),
        mean=rate,
        trained=(0.0, 1.0),
    )


def _lognormal(sign: float) -> Returns:
    trained = sorted((0.0, sign * 25.0))
    return Returns(
        name=f"lognormal, {'gains' if sign > 0 else 'losses'}",
        draw=lambda rng, shape: sign * np.exp(rng.normal(size=shape)),
        mean=sign * math.exp(0.5),
        trained=(trained[0], trained[1]),
    )


RETURNS = (
    *(_successes(rate) for rate in (0.01, 0.1, 0.3, 0.5, 0.95)),
    *(_disasters(rate) for rate in (0.002, 0.01, 0.03, 0.1)),
    Returns(name="normal", draw=lambda rng, s: rng.normal(size=s), mean=0.0, trained=(-10.0, 3.5)),
    Returns(name="exponential", draw=lambda rng, s: rng.exponential(size=s), mean=1.0, trained=(-5.0, 8.0)),
    _lognormal(1.0),
    _lognormal(-1.0),
    Returns(name="Student's t, 3", draw=lambda rng, s: rng.standard_t(3, s), mean=0.0, trained=(-20.0, 10.0)),
    Returns(name="Student's t, 2", draw=lambda rng, s: rng.standard_t(2, s), mean=0.0, trained=(-50.0, 25.0)),
)


def plan(options: Options) -> Iterator[Measurement]:
    """Return all distributions per seed."""
    for seed in options.seeds or (0,):
        yield Measurement(f"{SAMPLES} samples/seed{seed}", partial(_measure, seed))


def coverage(returns: Returns, n: int, span: str, rng: np.random.Generator, samples: int = SAMPLES) -> float:
    """Return the share of samples whose interval holds the true mean.

    Args:
        returns: the policy.
        n: episodes per sample.
        span: one of `SPANS`.
        rng: where randomness comes from.
        samples: how many to draw.
    """
    seen = returns.draw(rng, (samples, n))
    low, high = _unseen(returns, seen, span, rng)
    tail = (1.0 - LEVEL) / 2.0
    counts, truth = np.ones(n), np.full(samples, returns.mean)
    above = mean_probability(seen, counts, low, truth) >= tail
    below = mean_probability(-seen, counts, -high, -truth) >= tail
    means = seen.mean(axis=1)  # the interval holds it, whatever the tails say
    return float(np.mean((above | (truth == means)) & (below | (truth == means))))


def _unseen(returns: Returns, seen: np.ndarray, span: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (samples,) the lowest and the highest return that are thought possible, as `mean_interval` does."""
    lowest, highest = seen.min(axis=1), seen.max(axis=1)
    if span == "none":
        reach = highest - lowest
        reach = np.where(reach > 0.0, reach, np.where(highest != 0.0, np.abs(highest), 1.0))
        return lowest - reach, highest + reach
    if span == "own":
        before = returns.draw(rng, (len(seen), SEEN))
        low, high = before.min(axis=1), before.max(axis=1)
    else:
        low, high = np.broadcast_to(returns.trained[0], lowest.shape), np.broadcast_to(returns.trained[1], lowest.shape)
    return np.minimum(lowest, low), np.maximum(highest, high)


def _measure(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    groups = [
        {"returns": one.name, "span": span, "coverage": [coverage(one, n, span, rng) for n in EPISODES]}
        for one in RETURNS
        for span in SPANS
    ]
    return {"seed": seed, "method": METHOD, "level": LEVEL, "episodes": list(EPISODES), "groups": groups}


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per distribution, what is told of the range, and the smallest coverage of each."""
    lines = [
        [
            str(row["seed"]),
            group["returns"],
            group["span"],
            *(f"{share:.3f}{'' if share >= GOAL else ' !'}" for share in group["coverage"]),
        ]
        for row in rows
        for group in row["groups"]
    ]
    short = sum(min(group["coverage"]) < GOAL for row in rows for group in row["groups"] if group["span"] == SPANS[0])
    of = sum(group["span"] == SPANS[0] for row in rows for group in row["groups"])
    return [
        f"How often the interval of a score ({METHOD}, nominal {LEVEL:.0%}) holds the true mean, by the number of "
        f"episodes, over {SAMPLES:,} samples. Range of returns that it is told: that of a training which has also seen "
        f"worse policies; that of {SEEN} episodes of this policy alone; none. `!` marks what is below {GOAL}. "
        f"With the range of the training, {of - short} of {of} distributions stay above it throughout. Without a "
        f"range, nothing can cover an event that no episode has shown.",
        "",
        *table(("Seed", "Returns", "Range", *map(str, EPISODES)), lines),
    ]
