"""The learning curve of a run in bounded memory: at most `MAX_BINS` means over consecutive evaluations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError

MAX_BINS = 256
"""Bins of a curve; when they are full, neighbours are merged and each holds twice as many evaluations."""
FIRST_SCORES = 10
"""Scores at the start that are remembered one by one."""


@dataclass(frozen=True)
class Bins:
    """A curve as arrays of B bins, in the order of time."""

    steps: np.ndarray
    """(B,) environment steps at the last evaluation of the bin."""
    scores: np.ndarray
    """(B,) mean score."""
    counts: np.ndarray
    """(B,) evaluations."""
    variances: np.ndarray
    """(B,) mean squared standard error of its evaluations; NaN where none is known."""


@dataclass(frozen=True, kw_only=True)
class ScoreCurve:
    """Scores over environment steps, in constant memory. A value: `added` returns another one.

    The same evaluations give the same bins, however often the curve was saved in between. A score that is not finite is
    no evidence and is left out, as is an evaluation without new steps.

    Raises:
        CheckpointCorruptError: the bins do not add up to the evaluations.
    """

    evaluations: int = 0
    """Evaluations that were added."""
    steps: int = 0
    """Environment steps at the newest of them."""
    episodes: int | None = None
    """Training episodes until then; None = unknown."""
    width: int = 1
    """Evaluations of a full bin."""
    packed: tuple[tuple[float, ...], ...] = ()
    """Of each bin: count, steps, sum of scores, number of known errors, sum of squared errors."""
    first_scores: tuple[float, ...] = ()
    """The first `FIRST_SCORES` scores."""
    first_errors: tuple[float, ...] = ()
    """Their standard errors; NaN = unknown."""

    def __post_init__(self) -> None:
        if any(len(b) != 5 for b in self.packed) or math.fsum(b[0] for b in self.packed) != self.evaluations:
            raise CheckpointCorruptError(
                f"The saved learning curve has bins that do not add up to its {self.evaluations} evaluations."
            )

    def added(self, steps: int, score: float, std_err: float = math.nan, episodes: int | None = None) -> Self:
        """Return the curve with one more evaluation.

        Args:
            steps: environment steps of training so far.
            score: the score, in its own units; higher is better.
            std_err: its standard error; NaN = unknown.
            episodes: training episodes so far; None = unknown.

        Raises:
            InvalidArgumentError: `steps` is below that of the evaluation before.
        """
        if steps < self.steps:
            raise InvalidArgumentError(
                f"steps must not go back, but got {steps} after {self.steps}. Pass the total of the run."
            )
        if not math.isfinite(score) or (steps == self.steps and self.evaluations):
            return self
        is_known = math.isfinite(std_err)
        new = (1.0, float(steps), float(score), float(is_known), float(std_err) ** 2 if is_known else 0.0)
        is_open = bool(self.packed) and self.packed[-1][0] < self.width
        packed = (*self.packed[:-1], _merged(self.packed[-1], new)) if is_open else (*self.packed, new)
        is_full = len(packed) > MAX_BINS
        is_first = len(self.first_scores) < FIRST_SCORES
        return replace(
            self,
            evaluations=self.evaluations + 1,
            steps=int(steps),
            episodes=None if episodes is None else int(episodes),
            width=2 * self.width if is_full else self.width,
            packed=_halved(packed) if is_full else packed,
            first_scores=(*self.first_scores, float(score)) if is_first else self.first_scores,
            first_errors=(*self.first_errors, float(std_err) if is_known else math.nan)
            if is_first
            else self.first_errors,
        )

    def moved(self, by: float) -> Self:
        """Return the curve with another zero: `by` is added to each score."""
        return replace(
            self,
            packed=tuple((count, steps, total + count * by, *errors) for count, steps, total, *errors in self.packed),
            first_scores=tuple(score + by for score in self.first_scores),
        )

    def bins(self) -> Bins:
        """Return the curve as arrays."""
        counts, steps, scores, known, squares = np.array(self.packed, np.float64).reshape(-1, 5).T
        with np.errstate(invalid="ignore"):
            return Bins(steps, scores / counts, counts, np.where(known > 0, squares / known, np.nan))

    def first_level(self, n: int) -> float:
        """Return the mean of the first `n` scores, n <= `FIRST_SCORES`; NaN before there is one."""
        scores = self.first_scores[:n]
        return math.fsum(scores) / len(scores) if scores else math.nan

    def first_deviation(self) -> float:
        """Return the standard deviation of one score at the start.

        It is the root mean square of the known standard errors of the first scores; where none is known, that of the
        successive differences of the scores over √2 (von Neumann, 1941). 0 for a single score of unknown error.
        """
        errors = [error for error in self.first_errors if math.isfinite(error)]
        if errors:
            return math.sqrt(math.fsum(e * e for e in errors) / len(errors))
        differences = np.diff(self.first_scores)
        return float(np.sqrt(np.mean(differences**2) / 2.0)) if differences.size else 0.0


def _halved(packed: Sequence[tuple[float, ...]]) -> tuple[tuple[float, ...], ...]:
    pairs = zip(packed[::2], [*packed[1::2], None], strict=False)
    return tuple(first if second is None else _merged(first, second) for first, second in pairs)


def _merged(first: tuple[float, ...], second: tuple[float, ...]) -> tuple[float, ...]:
    return (
        first[0] + second[0],
        second[1],
        first[2] + second[2],
        first[3] + second[3],
        first[4] + second[4],
    )
