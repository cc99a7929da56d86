"""What the rows of runs say: pure functions of one row each.

A row holds the reported score, the re-test and the untrained policy's score, with their standard errors, and how the
run ended; see `_field_runs`.
"""

import math
from collections.abc import Sequence

import numpy as np

from benchmarks._field_tasks import Task
from benchmarks._results import Row

ERRORS = 2.0
"""Two scores agree if they differ by at most so many standard errors of their difference."""
LEVEL = 0.95
"""Share of the gain from which the final level counts as reached."""
TOGETHER = 3
"""Evaluations in a row whose mean must have reached it."""
CALLED_TRAINED = ("converged", "budget")
EXIT_CODES = {
    "converged": 0,
    "budget": 0,
    "max_episodes": 0,
    "exhausted": 0,
    "nothing_learned": 3,
    "interrupted": 130,
}
"""What the command line returns for each reason."""


def gap(row: Row) -> float:
    """Return reported minus re-test, in standard errors of the difference; NaN where either is missing."""
    if row["reported"] is None or row["retest"] is None:
        return math.nan
    difference = row["reported"] - row["retest"]
    error = math.hypot(row["reported_std_err"] or 0.0, row["retest_std_err"] or 0.0)
    return difference / error if error else math.copysign(math.inf, difference) if difference else 0.0


def holds(row: Row) -> bool:
    """Return True if the reported score and the re-test agree, by their standard errors alone."""
    return abs(gap(row)) <= ERRORS


def intervals_agree(row: Row) -> bool:
    """Return True if the 95 % interval of the difference of both scores holds 0.

    The interval of a difference from those of its terms: Zou and Donner, "Construction of confidence limits about
    effect measures", 2008. It is never of zero width where outcomes can vary, as a standard error can be.
    """
    if row["reported_low"] is None or row["retest"] is None:
        return holds(row)
    reported, retest = row["reported"], row["retest"]
    if reported >= retest:
        return reported - retest <= math.hypot(reported - row["reported_low"], row["retest_high"] - retest)
    return retest - reported <= math.hypot(row["reported_high"] - reported, retest - row["retest_low"])


def is_covered(row: Row) -> bool:
    """Return True if the report claims no higher score than the re-test's, within what its interval leaves open.

    No score claims nothing; a re-test that cannot be played to its end confirms nothing.
    """
    if row["reported"] is None:
        return True
    return row["retest"] is not None and (row["reported"] <= row["retest"] or intervals_agree(row))


def has_learned(row: Row) -> bool:
    """Return True if the re-test is ahead of the untrained policy by more than their error."""
    if row["retest"] is None:
        return False
    error = math.hypot(row["retest_std_err"] or 0.0, row["untrained_std_err"] or 0.0)
    return row["retest"] - row["untrained"] > ERRORS * error


def is_called_trained(row: Row) -> bool:
    """Return True if the run said that the training is complete."""
    return row["reason"] in CALLED_TRAINED


def told_the_truth(row: Row) -> bool:
    """Return True if the report claims neither a higher score than the re-test's nor a training that taught nothing."""
    return is_covered(row) and (has_learned(row) or not is_called_trained(row)) and has_right_exit_code(row)


def has_right_exit_code(row: Row) -> bool:
    """Return True if the exit code is that of the reason."""
    return row["exit_code"] == EXIT_CODES.get(row["reason"])


def share_of_goal(row: Row, task: Task) -> float:
    """Return where the re-test lies on the scale from the untrained policy, or the floor, to the goal."""
    if row["retest"] is None:
        return math.nan
    zero = row["untrained"] if task.floor is None else max(row["untrained"], task.floor)
    return (row["retest"] - zero) / (task.goal - zero)


def first_of_level(scores: Sequence[float], start: float, level: float) -> int | None:
    """Return the evaluation of the first policy of the final level: from it on, `TOGETHER` in a row have reached it.

    Args:
        scores: at each evaluation.
        start: score of the untrained policy.
        level: that of the policy handed back.

    Returns:
        Its number from 0; None where the level was never reached, or is not above the start.
    """
    if level <= start or len(scores) < TOGETHER:
        return None
    asked = start + LEVEL * (level - start)
    means = np.convolve(scores, np.full(TOGETHER, 1.0 / TOGETHER), "valid")
    reached = np.flatnonzero(means >= asked - 1e-9 * max(1.0, abs(asked)))
    return int(reached[0]) if reached.size else None


def steps_after(row: Row) -> float:
    """Return the steps after the first policy of the final level over those before it; infinite if never reached."""
    reached = row["steps_to_level"]
    return math.inf if reached is None else (row["env_steps"] - reached) / reached
