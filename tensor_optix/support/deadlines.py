"""How long a call of an environment may take: given, or learned from those before."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import is_real

LEARNED_FROM = 100
"""Calls whose slowest is the measure."""
FACTOR = 20.0
LEAST = 30.0
"""Seconds."""
AT_FIRST = 120.0
"""Seconds while fewer calls were seen: the first ones compile, load and connect."""


def check_timeout(name: str, value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is None or a number of seconds above 0."""
    if value is not None and not (is_real(value) and value > 0):
        raise InvalidArgumentError(f"{name} must be a number of seconds above 0, or None (learned), but got {value!r}.")


class Deadline:
    """The seconds that a call may take: 20 times the slowest of the first 100, and at least 30.

    Args:
        given: the seconds themselves; None = learned.
        name: of that argument, for the error.
        clock: monotonic seconds.

    Raises:
        InvalidArgumentError: `given` is no number above 0.
    """

    def __init__(
        self,
        given: float | None = None,
        name: str = "step_timeout",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_timeout(name, given)
        self._given, self._clock = given, clock
        self.slowest = 0.0
        """Seconds of the slowest call that was learned from."""
        self._seen = 0

    @property
    def seconds(self) -> float:
        """The seconds that a call may take now."""
        if self._given is not None:
            return self._given
        learned = max(FACTOR * self.slowest, LEAST)
        return learned if self._seen >= LEARNED_FROM else max(learned, AT_FIRST)

    @contextmanager
    def measured(self) -> Generator[None]:
        """Learn from the call in the block, unless it fails."""
        begun = self._clock()
        yield
        self.saw(self._clock() - begun)

    def saw(self, seconds: float) -> None:
        """Learn from a call that has returned."""
        if self._seen < LEARNED_FROM:
            self._seen += 1
            self.slowest = max(self.slowest, seconds)
