"""When the state of a run is saved, and which saved state a resumed run begins from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.errors import CheckpointCorruptError

SHARE = 0.05
"""Of the run's time, that saving may take."""


LONGEST = 60.0
"""Seconds between two saves at most, whatever they cost."""


class RunKeeper:
    """Saves the state of a run between windows, so that it costs at most a share of the run's time.

    Where a save costs less than that share of a window, each window is saved. A larger state is saved less often, yet
    at least once a minute: what a crash costs is the windows since, and those are lived again.

    Args:
        ring: where the states go.
        clock: monotonic seconds; no decision of the loop depends on it.
        share: of the run's time, that saving may take.
        longest: seconds between two saves at most.
    """

    def __init__(
        self, ring: ResumeRing, clock: Callable[[], float], share: float = SHARE, longest: float = LONGEST
    ) -> None:
        self.ring = ring
        self._clock = clock
        self._share, self._longest = share, longest
        self._started: float | None = None
        self._last = 0.0
        self._cost = 0.0
        self.seconds = 0.0
        """Spent on saving."""

    def start(self) -> None:
        """Let the clock run."""
        self._started = self._last = self._clock()

    def resume(self, restore: Callable[[ResumePoint], None]) -> bool:
        """Give the newest intact state to `restore`; False where there is none.

        A state that three times brought the process down while it was put back is not tried again.

        Raises:
            CheckpointCorruptError: there are saved states, but none of them is intact.
        """
        point = self.ring.newest()
        if point is None and self.ring.was_used:
            raise CheckpointCorruptError(
                f"{str(self.ring.directory)!r} holds saved states of the run, but none that is intact. Put the folders "
                f"back from a copy, or begin a new run without resume; its snapshots can still be loaded."
            )
        if point is None:
            return False
        self.ring.begin(point)
        try:
            restore(point)
        finally:  # whatever came of it, the process has lived
            self.ring.succeeded()
        return True

    @property
    def is_due(self) -> bool:
        """Whether saving now keeps to the share, or must not wait any longer."""
        now = self._clock()
        lived = now - (self._started if self._started is not None else now)
        return self.seconds + self._cost <= self._share * lived or now - self._last >= self._longest

    def save(self, write: Callable[[Path], None], state: Callable[[], Mapping[str, Any]]) -> None:
        """Save a state: what `write` puts into the folder that it is given, and the JSON values that `state` returns.

        Raises:
            CheckpointStorageError: the disk does not take it; the next try follows.
        """
        begun = self._clock()
        try:
            self.ring.save(write, state())
        finally:
            self._last = self._clock()
            self._cost = self._last - begun
            self.seconds += self._cost
