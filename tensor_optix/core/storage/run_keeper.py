"""When the state of a run is saved, and which saved state a resumed run starts from."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from tensor_optix.core.storage.resume_ring import ATTEMPTS, MAX_STARTS, ResumePoint, ResumeRing
from tensor_optix.errors import CheckpointCorruptError, CheckpointInterruptedError, CheckpointStorageError

logger = logging.getLogger(__name__)

SHARE = 0.01
"""The share of the run's time that saving may take: a crash costs at most a hundred times what a save takes."""
LONGEST = 60.0
"""Seconds between two saves at most, whatever they cost."""


class RunKeeper:
    """Saves the state of a run between windows, so that it costs at most a share of the run's time.

    Where a save costs less than that share of a window, each window is saved. A larger state is saved less often, but
    at least once a minute. A crash costs the windows since the last save; the resumed run collects them again.

    Args:
        ring: where the states go.
        clock: monotonic seconds; no decision of the loop depends on it.
        share: of the run's time that saving may take.
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
        """Start the clock."""
        self._started = self._last = self._clock()

    def resume(self, restore: Callable[[ResumePoint], None]) -> bool:
        """Pass the newest intact state to `restore`; return False where there is none.

        A state is passed over when the process has ended three times while it was restored, see `ResumeRing`. A disk
        that does not take the note of a start keeps no run from going on.

        Raises:
            CheckpointCorruptError: there are saved states, but none of them is intact.
            CheckpointInterruptedError: some are intact, but all of these are passed over.
        """
        point = self.ring.newest()
        if point is None and self.ring.given_up:
            raise CheckpointInterruptedError(
                f"{' and '.join(self.ring.given_up)} in {str(self.ring.directory)!r} can be resumed from, but the "
                f"process was killed, or crashed, in {MAX_STARTS} starts from each. They are kept. To try again, delete"
                f" {ATTEMPTS} there; if the process crashes by itself, begin a new run without resume: its snapshots "
                f"can still be loaded."
            )
        if point is None and self.ring.was_used:
            raise CheckpointCorruptError(
                f"{str(self.ring.directory)!r} holds saved states of the run, but none that is intact. Put the folders "
                f"back from a copy, or begin a new run without resume; its snapshots can still be loaded."
            )
        if point is None:
            return False
        self._note(self.ring.begin, point)
        try:
            restore(point)
        finally:  # the process has survived, whatever the result
            self._note(self.ring.survived, point)
        return True

    @staticmethod
    def _note(note: Callable[[ResumePoint], None], point: ResumePoint) -> None:
        try:
            note(point)
        except CheckpointStorageError as error:
            logger.warning("That the run is resumed is not noted, and does not count as a start: %s", error)

    @property
    def is_due(self) -> bool:
        """True where saving now stays within the share, or is overdue."""
        now = self._clock()
        elapsed = now - (self._started if self._started is not None else now)
        return self.seconds + self._cost <= self._share * elapsed or now - self._last >= self._longest

    def save(self, write: Callable[[Path], None], state: Callable[[], Mapping[str, object]]) -> None:
        """Save a state: what `write` puts into the folder that it is given, and the JSON values that `state` returns.

        Raises:
            CheckpointStorageError: the disk refuses it; the next window tries again.
        """
        begun = self._clock()
        try:
            self.ring.save(write, state())
        finally:
            self._last = self._clock()
            self._cost = self._last - begun
            self.seconds += self._cost
