"""Scores of whole runs, written down, and what of the decisions on them is looked at."""

import random

WINDOWS = 150
DECIDED = ("window_id", "verdict", "state", "interval", "is_best")


def noise(seed: int, spread: int) -> list[float]:
    """Multiples of 1/64 between ±spread: whatever is summed of them is exact in any order."""
    rng = random.Random(seed)
    return [rng.randint(-64 * spread, 64 * spread) / 64 for _ in range(WINDOWS)]


def scripted(levels: list[float], seed: int, spread: int) -> list[float]:
    return [level + error for level, error in zip(levels, noise(seed, spread), strict=True)]


SCRIPTS: dict[str, list[float]] = {
    "rise then plateau": scripted([float(min(n, 40)) for n in range(WINDOWS)], 1, 1),
    "noise": scripted([0.0] * WINDOWS, 2, 8),
    "collapse": scripted([float(n) if n < 40 else 5.0 for n in range(WINDOWS)], 3, 1),
    "flat start then rise": [0.0] * 12 + scripted([float(max(n - 12, 0)) for n in range(WINDOWS)], 4, 2)[12:],
    "drift": scripted([float(min(4 * n, 40)) if n < 90 else 10.0 for n in range(WINDOWS)], 5, 2),
}
