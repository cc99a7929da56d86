"""What a probe of a hyper-parameter costs, what it has to show, and when it is worth beginning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.plain import SavedState
from tensor_optix.support.schemas import rebuilt

TREND_SCORES = 5
"""A probe of one evaluation is expected from so many scores without one."""
LONGEST_PROBE = 8
"""Evaluations in which a probe must be able to show its effect."""
_SHARE = 0.15
"""Share of the windows that may be collected under probe values which do not pay."""
_EFFECT = 0.1
"""The effect that a probe looks for, as a share of the range of the scores so far."""
_SETTLED, _SETTLED_EARLY = 2.0, 3.0
"""Standard errors by which a gain settles a probe at its end, and before it."""


@dataclass(frozen=True)
class Probe:
    """A value that is in force to be judged."""

    name: str
    original: float
    applied: float
    direction: int
    std_err: float
    """Standard error of one score when it was begun; 0 where nothing is known."""
    length: int = 1
    """Evaluations that it takes."""
    scores: tuple[float, ...] = ()
    windows: int = 0
    """Windows collected under it so far."""

    @classmethod
    def from_dict(cls, state: SavedState) -> "Probe":
        """Rebuild from `vars(probe)`, as JSON has it.

        Raises:
            CheckpointCorruptError: a field is missing, of another type, or no probe can have it.
        """
        probe = rebuilt(cls, state)
        if not 1 <= probe.length <= LONGEST_PROBE or probe.windows < 0:
            raise CheckpointCorruptError(
                f"A probe takes 1 to {LONGEST_PROBE} evaluations and counts its windows, but the saved one takes "
                f"{probe.length} and has {probe.windows}."
            )
        fields: dict[str, Any] = {**state, "scores": tuple(state["scores"])}
        return cls(**fields)  # as saved: a value that was whole stays so


@dataclass
class ProbeBudget:
    """Keeps the windows under probe values within a share of all of them.

        begin a probe of k evaluations of m windows:  spent + k·m ≤ 0.15·(windows + k·m), or k·m = 1 and spent = 0
        a probe kept by more than 3 standard errors:  spent ← max(0, spent − 2·its windows)

    So probes that pay go on without a pause, and those that do not get 15 % of the run.
    """

    windows: int = 0
    """All of them so far."""
    spent: int = 0
    """Those under probe values, less what has been earned."""
    newest: int = 0
    """Number of the window that was evaluated last."""

    @classmethod
    def from_dict(cls, state: SavedState) -> "ProbeBudget":
        """Rebuild from `vars(budget)`; raises `CheckpointCorruptError` for counts that no run can have."""
        budget = rebuilt(cls, state)
        if min(budget.windows, budget.spent, budget.newest) < 0:
            raise CheckpointCorruptError(f"A saved budget of probes has a count below 0: {budget}.")
        return budget

    def count(self, window: int) -> int:
        """Count the windows up to the evaluation of `window`, at least one, and return their number."""
        elapsed = max(1, window - self.newest) if self.windows else 1
        self.windows, self.newest = self.windows + elapsed, window
        return elapsed

    def allows(self, windows: int) -> bool:
        """Return True if a probe of that many windows may begin."""
        return (self.spent == 0 and windows == 1) or self.spent + windows <= _SHARE * (self.windows + windows)

    def earn(self, windows: int) -> None:
        """Give back the windows of a probe that was kept, and as many again."""
        self.spent = max(0, self.spent - 2 * windows)


@dataclass
class ScoreRange:
    """The lowest and the highest score so far."""

    lowest: float | None = None
    highest: float | None = None

    def include(self, score: float) -> None:
        """Widen the range to hold `score`."""
        self.lowest = score if self.lowest is None else min(self.lowest, score)
        self.highest = score if self.highest is None else max(self.highest, score)

    @property
    def extent(self) -> float:
        """Highest minus lowest, 0 before there is any."""
        return self.highest - self.lowest if self.highest is not None and self.lowest is not None else 0.0


def probe_length(std_err: float, extent: float) -> int | None:
    """Return the evaluations that a probe needs, None where it needs more than `LONGEST_PROBE`.

    The mean of k scores against that of k others shows an effect of e where e ≥ 2·σ·√(2/k); so k = ⌈2·(2σ/e)²⌉.

    Args:
        std_err: σ, standard error of one score, in units of the score.
        extent: range of the scores so far; the effect to be shown is a tenth of it.
    """
    if std_err == 0.0:
        return 1
    effect = _EFFECT * extent
    if effect <= 0.0 or 2.0 * (_SETTLED * std_err / effect) ** 2 > LONGEST_PROBE:
        return None
    return max(1, math.ceil(2.0 * (_SETTLED * std_err / effect) ** 2))


def expected_score(unprobed: Sequence[tuple[int, float]], length: int, at: float) -> tuple[float, float]:
    """Return the score expected around evaluation `at` without a probe, and its standard error in units of σ.

        s₀ = mean of the newest k + (at − their mean time)·slope of the newest max(5, 4k)

    It is a weighted sum Σ wᵢ·sᵢ of scores with the same error σ, so its own is σ·√(Σ wᵢ²).

    Args:
        unprobed: (number of the evaluation, score) of those without a probe, in the order of time.
        length: k, evaluations that the probe takes.
        at: mean number of the probe's evaluations.
    """
    numbers, scores = np.array(unprobed[-max(TREND_SCORES, 4 * length) :], np.float64).T
    base = np.zeros(scores.size)
    base[-length:] = 1.0 / min(length, scores.size)
    times = numbers - numbers.mean()
    spread = float(times @ times)
    slope = times / spread if spread > 0.0 else np.zeros(scores.size)
    weights = base + (at - base @ numbers) * slope
    # From the newest score on, so that scores without any change expect exactly that score.
    return float(scores[-1] + weights @ (scores - scores[-1])), float(math.sqrt(weights @ weights))


def settles(gain: float, error: float, is_over: bool) -> bool:
    """Return True if a gain is more than noise: more than two standard errors at a probe's end, three before it."""
    return abs(gain) > (_SETTLED if is_over else _SETTLED_EARLY) * error
