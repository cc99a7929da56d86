"""What a policy is worth on experience that nothing was chosen by, and how far that may be from the truth.

Several episodes that differ have the interval of every other score (`decisions.intervals`). One pass over data is a
single episode, whose return says nothing of its own error. Its steps do: they are drawn anew in blocks, each draw is
scored, and the interval holds the middle 95 % of the scores. Blocks keep the dependence of neighbouring steps.

Source: "The Stationary Bootstrap", Politis and Romano, 1994. Blocks begin anywhere, run on past the end to the start,
and have geometric lengths with mean √n.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tensor_optix.core.decisions.cut_episodes import rows_of
from tensor_optix.core.decisions.intervals import LEVEL, ScoreInterval, score_interval
from tensor_optix.core.decisions.repetition import Repetition
from tensor_optix.core.types import EpisodeData, EpisodeSummary, EvalMetrics

METHOD = "stationary bootstrap of the steps"
"""Name of the method in reports."""
DRAWS, MOST_ROWS = 1_000, 20_000_000
"""Draws per interval, fewer where they would have more rows together."""
FEWEST_DRAWS, FEWEST_STEPS = 100, 20
_SEED = 0
"""The draws of a report are the same each time."""


@dataclass(frozen=True, kw_only=True)
class FinalScore:
    """A score on experience that nothing was chosen by."""

    score: float
    interval: ScoreInterval | None
    """Where the true score lies; None where too little is known."""
    steps: int
    """Steps behind it."""

    @property
    def text(self) -> str:
        """On what it was scored, in words."""
        steps, interval = f"{self.steps:,} steps that nothing was chosen by", self.interval
        return steps if interval is None else f"{steps}; {interval.level:.0%} {interval.method}"


def final_score(window: EpisodeData, score: Callable[[EpisodeData], EvalMetrics]) -> FinalScore:
    """Return the score of a window with its interval.

    Args:
        window: what the policy did, in whole episodes.
        score: the evaluator's verdict on a window.
    """
    metrics, returns = score(window), [episode.total_return for episode in window.completed_episodes()]
    interval = None
    if Repetition().seen(window).is_refuted:
        interval = score_interval(metrics.primary_score, metrics.std_err, len(returns), returns)
    if interval is None and math.isfinite(metrics.primary_score):
        interval = block_interval(window, score, metrics.primary_score, np.random.default_rng(_SEED))
    return FinalScore(score=metrics.primary_score, interval=interval, steps=window.length)


def block_interval(
    window: EpisodeData, score: Callable[[EpisodeData], EvalMetrics], center: float, rng: np.random.Generator
) -> ScoreInterval | None:
    """Return the interval of the score of a window from its own steps.

        low, high = the (1 − level)/2 and (1 + level)/2 quantiles of score(rows drawn in blocks),  widened to the score

    Args:
        window: T steps.
        score: the evaluator's verdict on a window.
        center: the score of the window itself.
        rng: of the draws.

    Returns:
        None where the steps are too few, or the evaluator cannot score what was drawn.
    """
    n = window.length
    if n < FEWEST_STEPS or window.n_envs != 1:
        return None
    draws = int(min(max(MOST_ROWS / n, FEWEST_DRAWS), DRAWS))
    try:
        scores = [score(drawn(window, rows)).primary_score for rows in blocks(n, math.sqrt(n), draws, rng)]
    except Exception:  # an evaluator that needs more than steps has no such interval
        return None
    if not np.isfinite(scores).all():
        return None
    low, high = np.quantile(scores, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    episodes = len(window.completed_episodes())
    return ScoreInterval(
        low=min(float(low), center), high=max(float(high), center), level=LEVEL, method=METHOD, episodes=episodes
    )


def blocks(n: int, mean_length: float, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield draws of (n,) rows in blocks of neighbours.

    Args:
        n: rows there are.
        mean_length: of a block, at least 1.
        draws: how many.
        rng: draws them.
    """
    numbers = np.arange(n)
    for _ in range(draws):
        begins = rng.random(n) < 1.0 / mean_length
        begins[0] = True
        began = np.maximum.accumulate(np.where(begins, numbers, 0))
        yield (rng.integers(n, size=n)[began] + numbers - began) % n


def drawn(window: EpisodeData, rows: np.ndarray) -> EpisodeData:
    """Return a window of some rows of another, as one episode.

    Args:
        window: the other one.
        rows: (T,) which.
    """
    found = rows_of(window, rows)
    ends = np.arange(len(rows)) == len(rows) - 1
    total = float(np.sum(np.asarray(found.rewards, np.float64)))
    return replace(
        found,
        terminated=np.zeros_like(ends),
        truncated=ends,
        completed=(EpisodeSummary(total, len(rows)),),
    )
