"""What notices that a run hangs: nothing moves on for 20 times as long as it ever took, and at least 30 s.

It is a thread beside the run. Where the run stands still, in an environment, in `learn`, in validation, an evaluator, a
callback, a save or a feed, the stacks of all threads are logged, once per stand-still, and it is counted. Nothing is
ended for that: it may be a debugger. But where a signal has asked for an end and nothing moves, the watchdog interrupts
the main thread, as a second signal would, and where that does not help either it ends the process: what was saved last
is what the run goes on from.

Code that holds Python's lock for ever stops this thread, too. Then the stacks are written to stderr by a timer that
needs no lock, and only `kill -9` ends the process; such an environment belongs in a process of its own.
"""

import faulthandler
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Protocol

from tensor_optix.support.deadlines import Deadline
from tensor_optix.support.heartbeat import HEARTBEAT

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks."""
PATIENCE = 5.0
"""Seconds without a move after which a signal interrupts, where the place never took half of that."""
LAST = 9.0
"""Seconds after a signal at which the process is ended, if it stands still all the same."""
_STDERR = 2
_GRACE = 3.0
"""Seconds after the deadline at which the timer writes the stacks that this thread could not."""


class Actions(Protocol):
    """What a watchdog can do about a run that stands still."""

    def stacks(self) -> str:
        """Return the stacks of all threads."""
        ...

    def arm(self, seconds: float | None) -> None:
        """Let the stacks be written in so many seconds, whoever holds Python's lock; None = not at all."""
        ...

    def interrupt(self, number: int) -> None:
        """Send the main thread a signal."""
        ...

    def end(self, status: int) -> None:
        """End the process."""
        ...


class ProcessActions:
    """Acts on this process."""

    def stacks(self) -> str:
        """Return the stacks of all threads."""
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            return file.read().decode(errors="replace")

    def arm(self, seconds: float | None) -> None:
        """Let the stacks be written in so many seconds, whoever holds Python's lock; None = not at all."""
        with suppress(OSError, ValueError, RuntimeError):  # no stderr
            if seconds is None:
                faulthandler.cancel_dump_traceback_later()
            else:
                faulthandler.dump_traceback_later(seconds, file=_STDERR)

    def interrupt(self, number: int) -> None:
        """Send the main thread a signal."""
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    def end(self, status: int) -> None:
        """End the process."""
        os._exit(status)


class Watchdog:
    """Watches that a run moves on.

    Args:
        hang_timeout: seconds without a move after which the run hangs; None = learned, by place.
        on_hang: called, from another thread, where the run is found to hang.
        clock: monotonic seconds.
        actions: what can be done about it.
    """

    def __init__(
        self,
        hang_timeout: float | None = None,
        on_hang: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        actions: Actions | None = None,
    ) -> None:
        self._timeout, self._on_hang, self._clock = hang_timeout, on_hang, clock
        self._actions = ProcessActions() if actions is None else actions
        self._deadlines: dict[str, Deadline] = {}
        self._places: list[str] = []
        """Where the run is: the innermost place last."""
        self._moves = 0
        self._seen: tuple[int, int] = (0, 0)
        """Moves and steps at the last look."""
        self._place = ""
        """Where the run was then."""
        self._moved = clock()
        """When a move was seen for the last time."""
        self._has_reported = False
        self._asked: tuple[float, int] | None = None
        """When a signal has asked for an end, and its number."""
        self.has_interrupted = False
        """Whether the main thread was interrupted, as it stood still after a signal."""
        self._is_over: threading.Event | None = None

    @contextmanager
    def watching(self) -> Generator[None]:
        """Watch the block, in which a run is."""
        over = self._is_over = threading.Event()
        self._asked, self.has_interrupted = None, False

        def look() -> None:
            while not over.wait(TICK):
                self.look()

        thread = threading.Thread(target=look, name="tensor-optix-watchdog", daemon=True)
        with self.at("loop"):
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()
                self._actions.arm(None)

    @contextmanager
    def at(self, place: str) -> Generator[None]:
        """Note that the run is at a place in the block."""
        self._places.append(place)
        self._moves += 1
        try:
            yield
        finally:
            self._places.pop()
            self._moves += 1

    def hurry(self, number: int) -> None:
        """Note that a signal has asked for an end."""
        self._asked = (self._clock(), number)

    def look(self) -> None:
        """Look whether the run has moved since the last time, and do what is to be done where it has not."""
        now, seen = self._clock(), (self._moves, HEARTBEAT.beats)
        place = next(iter(self._places[:-2:-1]), "")
        still = now - self._moved
        if seen != self._seen:
            self._deadline_of(self._place).saw(still)  # where it has stood until now
            self._seen, self._place, self._moved, self._has_reported, still = seen, place, now, False, 0.0
        deadline = self._deadline_of(place)
        if still >= deadline.seconds and not self._has_reported:
            self._report(place, still)
            self._on_hang()
        self._actions.arm(None if self._has_reported else deadline.seconds - still + _GRACE)
        if self._asked is not None:
            self._urge(place, now, still, max(PATIENCE, 2.0 * deadline.slowest), *self._asked)

    def _deadline_of(self, place: str) -> Deadline:
        return self._deadlines.setdefault(place, Deadline(self._timeout, "hang_timeout"))

    def _report(self, place: str, still: float) -> None:
        self._has_reported = True
        logger.error(
            "The run hangs: nothing has moved for %.0f s in %r. A signal (Ctrl-C, SIGTERM) ends it, and resume goes on "
            "from what was saved last. The stacks of all threads:\n%s",
            still,
            place,
            self._actions.stacks(),
        )

    def _urge(self, place: str, now: float, still: float, patience: float, asked: float, number: int) -> None:
        """Help a signal that has asked for an end, where nothing moves."""
        still = min(still, now - asked) if not self._has_reported else still
        if not self.has_interrupted and still >= patience:
            if not self._has_reported:
                self._report(place, still)
            self.has_interrupted = True
            self._moved = now
            self._actions.interrupt(number)
        elif self.has_interrupted and number == signal.SIGTERM and now - asked >= LAST and now - self._moved >= TICK:
            logger.error("The run does not end by itself, and is ended; what was saved last is what it goes on from.")
            self._actions.end(128 + number)
