"""Does the loop stop when, and only when, the scores have stopped rising? Simulated score curves, no training.

The truth of a curve is known, and it is seen through noise. A stop is *false* if the true score was still to rise,
above all that it had been, by more than 5 % of the curve's range. The *delay* runs from the end of the true rise to the
stop, in units of the delay that the thresholds give for the same curve without noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks._results import Row, table
from benchmarks._suite import Measurement, Options
from tensor_optix.core.decisions.trend import MOST_EVALUATIONS, has_risen, noise_of

TITLE = "Calibration of convergence"
PATIENCE = 20
"""`dormant_threshold`, as the loop has it by default."""
CURVES = 12_000
LENGTH = 450
"""Evaluations per curve; none needs so many."""
FAMILIES = ("saturating", "late second rise", "oscillating", "drifting down")
NOISE_BANDS = ((0.01, 0.03), (0.03, 0.1), (0.1, 0.25), (0.25, 0.5))
"""Standard deviation of one score, as a share of the curve's rise."""
REAL_RISE = 0.05
"""What still rises by less than this share of the range counts as risen."""
GOAL_FALSE, GOAL_DELAY = 0.05, 1.5
_BATCH = 1000


@dataclass(frozen=True)
class Curves:
    """B true score curves of T evaluations."""

    family: np.ndarray
    """(B,) index into `FAMILIES`."""
    truth: np.ndarray
    """(B, T)."""
    end: np.ndarray
    """(B,) evaluation at which the true rise ends."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one batch of curves per seed."""
    for seed in options.seeds or (0,):
        yield Measurement(f"{CURVES} curves/seed{seed}", partial(_measure, seed))


def draw_curves(rng: np.random.Generator, n: int, length: int = LENGTH) -> Curves:
    """Draw curves that rise by 1, a quarter of each family; they reach their plateau exactly, at a known evaluation."""

    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1))

    def rise(share: np.ndarray, power: np.ndarray) -> np.ndarray:
        return 1.0 - (1.0 - np.clip(share, 0.0, 1.0)) ** power

    times = np.arange(length, dtype=np.float64)[None]
    end, power = uniform(20, 150), uniform(1, 3)
    saturating = rise(times / end, power)
    first, flat, second = uniform(10, 80), uniform(0.2, 0.8) * PATIENCE, uniform(5, 60)
    step = uniform(0.3, 0.7)
    twice = step * rise(times / first, power) + (1 - step) * rise((times - first - flat) / second, uniform(1, 2))
    swing = uniform(0.05, 0.3) * np.sin(2 * np.pi * times / uniform(4, 30) + uniform(0, 2 * np.pi))
    drift = uniform(0.0, 0.5) * np.clip(times - end, 0.0, None) / uniform(20, 150)
    family = np.arange(n) % len(FAMILIES)
    truth = np.choose(family[:, None], [saturating, twice, saturating + swing, saturating - drift])
    return Curves(family, truth, np.where(family == 1, (first + flat + second)[:, 0], end[:, 0]))


def stops(scores: np.ndarray, std_errs: np.ndarray | None = None, *, is_exact: bool = False) -> np.ndarray:
    """Return (B,) the evaluation at which the loop's rule ends each run of scores (B, T); T where it does not.

    Args:
        scores: what is seen.
        std_errs: (B, T) known errors, NaN where there is none.
        is_exact: True if the scores have no noise: the thresholds alone.
    """
    n_curves, length = scores.shape
    ends, quiet = np.full(n_curves, length), np.zeros(n_curves, int)
    for t in range(1, length):
        seen = slice(max(0, t + 1 - MOST_EVALUATIONS), t + 1)
        noise = noise_of(scores[:, seen], None if std_errs is None else std_errs[:, seen])
        noise = np.zeros(n_curves) if is_exact else noise
        quiet = np.where(has_risen(scores[:, seen], noise, PATIENCE), 0, quiet + 1)
        ends[(ends == length) & (quiet >= PATIENCE)] = t
        if (ends < length).all():
            break
    return ends


def _measure(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    family, noise, false, delay = (np.concatenate(parts) for parts in zip(*_batches(rng), strict=True))
    masks = {"all": np.ones(CURVES, bool)}
    masks |= {name: family == i for i, name in enumerate(FAMILIES)}
    masks |= {f"noise {low:.0%} to {high:.0%}": (low <= noise) & (noise < high) for low, high in NOISE_BANDS}
    groups = [
        {
            "curves": name,
            "n": int(mask.sum()),
            "false_stops": float(false[mask].mean()),
            "delay": float(np.median(delay[mask & ~false])),
            "delay_p90": float(np.quantile(delay[mask & ~false], 0.9)),
        }
        for name, mask in masks.items()
    ]
    return {"seed": seed, "patience": PATIENCE, "groups": groups}


def _batches(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield (family, noise, is false, delay) of a batch of curves."""
    for _ in range(CURVES // _BATCH):
        curves = draw_curves(rng, _BATCH)
        noise = np.exp(rng.uniform(np.log(NOISE_BANDS[0][0]), np.log(NOISE_BANDS[-1][1]), _BATCH))
        shape = curves.truth.shape
        heavy = rng.standard_t(4, shape) / np.sqrt(2.0)  # of variance 1
        seen = curves.truth + noise[:, None] * np.where(rng.random((_BATCH, 1)) < 0.5, heavy, rng.normal(size=shape))
        # Every second curve knows its errors, as well as five episodes tell them.
        errors = noise[:, None] * np.sqrt(rng.chisquare(4, shape) / 4)
        errors[rng.random(_BATCH) < 0.5] = np.nan
        ends = stops(seen, errors)
        to_come = _still_to_rise(curves.truth, ends)
        clean = stops(curves.truth, is_exact=True) - curves.end
        yield (
            curves.family,
            noise,
            to_come > REAL_RISE,
            (ends - curves.end) / np.maximum(clean, 1.0),
        )


def _still_to_rise(truth: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return (B,) by how much the truth will exceed, after each end, all that it was up to it."""
    rows, last = np.arange(len(truth)), np.minimum(ends, truth.shape[1] - 1)
    before = np.maximum.accumulate(truth, axis=1)[rows, last]
    return truth.max(axis=1) - before


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per group of curves."""
    lines = [
        [
            str(row["seed"]),
            group["curves"],
            f"{group['n']:,}",
            f"{group['false_stops']:.1%}",
            f"{group['delay']:.2f} ({group['delay_p90']:.2f})",
        ]
        for row in rows
        for group in row["groups"]
    ]
    return [
        f"Simulated score curves of a known truth, seen through noise of 1 % to 50 % of their rise (Gaussian or "
        f"heavy-tailed), `dormant_threshold` {PATIENCE}. A stop is false if the truth was still to rise above all "
        f"before by more than {REAL_RISE:.0%} of the range. Delay: from the end of the true rise to the stop, in units "
        f"of the delay without noise, median (90 %) of the stops that are not false. "
        f"Goals over all: false stops at most {GOAL_FALSE:.0%}, median "
        f"delay at most {GOAL_DELAY:g}.",
        "",
        *table(("Seed", "Curves", "Number", "False stops", "Delay"), lines),
    ]
