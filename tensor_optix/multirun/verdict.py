"""What a search has found: who beats the preset, and how the search compares with drawing at random. Pure decisions.

Trials are chosen by their scores, and the highest of many is too high. So the best of them are trained once more, with
fresh seeds, and so is the preset; their policies play the same fresh episodes.

    d  = score of a finalist − score of the preset, of each fresh seed
    a finalist beats the preset where the interval of the mean of d is above 0, at level 1 − 0.05/m for m finalists

The preset stays unless it is beaten; of those that beat it, the one with the highest mean wins.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensor_optix.core.decisions.intervals import ScoreInterval, mean_interval
from tensor_optix.multirun.study import SearchTrial

FINALISTS = 5
"""Trials that play against the preset."""
ERROR = 0.05
"""Probability at most that a preset is replaced by what is no better."""
PRESET = 0
"""Number of its trial."""

Scores = Sequence[float]
"""A score per fresh seed."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how much one is ahead of another, with the same seeds and on the same episodes."""

    mean: float
    interval: ScoreInterval


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Who is the best."""

    best: int
    """Number of the trial; that of the preset where nobody beats it."""
    ahead: Mapping[int, Difference]
    """Of each finalist: by how much it is ahead of the preset."""


def difference(scores: Scores, others: Scores, level: float = 1.0 - ERROR) -> Difference:
    """Return by how much the first are ahead of the others, pair by pair.

    Args:
        scores: of one, by seed.
        others: of the other, in the same order.
        level: of the interval.
    """
    pairs = [one - other for one, other in zip(scores, others, strict=True)]
    return Difference(mean=math.fsum(pairs) / len(pairs), interval=mean_interval(pairs, level=level))


def judged(scores: Mapping[int, Scores]) -> Verdict:
    """Return who is the best.

    Args:
        scores: of each finalist, the preset among them, by fresh seed.
    """
    preset = scores[PRESET]
    level = 1.0 - ERROR / max(len(scores) - 1, 1)
    ahead = {number: difference(one, preset, level) for number, one in scores.items() if number != PRESET}
    beating = [number for number, one in ahead.items() if one.interval.low > 0.0]
    best = max(beating, key=lambda number: (ahead[number].mean, -number), default=PRESET)
    return Verdict(best=best, ahead=ahead)


def finalists(trials: Sequence[SearchTrial]) -> list[int]:
    """Return which trials are trained with fresh seeds: the preset, the best ones, and the best of each arm.

    Args:
        trials: all of them.
    """
    complete = sorted(
        (one for one in trials if one.value is not None), key=lambda one: (-(one.value or 0.0), one.number)
    )
    best = [one.number for one in complete if one.number != PRESET][:FINALISTS]
    arms = [number for number in arms_best(trials).values() if number is not None]
    return sorted({PRESET, *best, *arms})


def is_at_random(trial: SearchTrial) -> bool:
    """Return whether a trial is one of random search."""
    return trial.drawn == "random"


def common_steps(trials: Sequence[SearchTrial]) -> int:
    """Return the training steps that the search and random search both have had."""
    return min(sum(one.steps for one in trials if is_at_random(one) is at_random) for at_random in (False, True))


def arms_best(trials: Sequence[SearchTrial]) -> dict[str, int | None]:
    """Return the best trial of the search and of random search, after equal steps; None where there is none by then."""
    budget = common_steps(trials)
    found: dict[str, int | None] = {}
    for name, at_random in (("search", False), ("random", True)):
        points = [point for point in best_so_far(trials, at_random=at_random) if point[0] <= budget]
        found[name] = points[-1][2] if points else None
    return found


def best_so_far(trials: Sequence[SearchTrial], *, at_random: bool) -> list[tuple[int, float, int]]:
    """Return the best score by training steps, one point for each time that it rises.

    Args:
        trials: all of them.
        at_random: True for those of random search, False for all others.

    Returns:
        Steps, score, and the number of the trial.
    """
    points, steps, best = list[tuple[int, float, int]](), 0, -math.inf
    for trial in trials:
        if is_at_random(trial) is at_random:
            steps += trial.steps
            if trial.value is not None and trial.value > best:
                best = trial.value
                points.append((steps, best, trial.number))
    return points
