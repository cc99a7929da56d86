"""What a step of validation takes, whatever else the machine does.

A loaded machine makes a run slower by whole slices of time, each of which falls into one step: few of them take longer,
and their median stays. Where only whole windows can be timed, many are hit by a slice, and the fastest of them tells. A
slow simulator is slow in every step, also where it waits for another program, which no processor time shows.
"""

import itertools
import math
import statistics
from collections.abc import Callable

ENOUGH = 50
"""Rounds of steps from which their median tells."""
ENOUGH_STEPS = 500
"""Steps of whole windows from which they tell, where a pipeline does not say when it has made a step."""
MOST = 1_000
"""Further ones are not timed."""


class StepTimer:
    """Takes the time between steps.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun = 0.0
        self._ticks: list[float] = []
        """Times of the window in hand at which a round of steps began."""
        self._rounds: list[float] = []
        """Seconds of single rounds."""
        self._fastest = math.inf
        """Seconds of a step in the fastest window."""
        self._steps = 0

    def begin(self) -> None:
        """Begin a window."""
        self._begun, self._ticks = self._clock(), []

    def tick(self) -> None:
        """Note that a round of steps begins: one step in each environment that is played."""
        if len(self._rounds) < MOST:
            self._ticks.append(self._clock())

    def end(self, steps: int) -> None:
        """End a window.

        Args:
            steps: that it had, over all environments.
        """
        if len(self._rounds) >= MOST or not steps:
            return
        now = self._clock()
        self._rounds += [then - before for before, then in itertools.pairwise([*self._ticks, now])]
        self._fastest = min(self._fastest, (now - self._begun) / steps)
        self._steps += steps

    @property
    def step_seconds(self) -> float | None:
        """Seconds of one step in one environment; None until enough were timed."""
        if not self._rounds:
            return self._fastest if self._steps >= ENOUGH_STEPS else None
        return (
            statistics.median(self._rounds) * len(self._rounds) / self._steps if len(self._rounds) >= ENOUGH else None
        )
