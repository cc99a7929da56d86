"""What the live view shows before the first window has ended: on a busy machine that may take a minute."""

import contextlib
import threading
from collections.abc import Callable

from tensor_optix.callbacks.screens import Rows, Screen
from tensor_optix.core.loop.parts import LoopStatus

SECONDS_BETWEEN_LOOKS = 0.25
WORDS = {
    "collect": "collecting the first window",
    "learn": "learning from it for the first time, which may compile the models",
    "validate": "playing held-out episodes",
}
"""What a part of the loop does, by its name in `report.seconds`."""
OTHERWISE = "getting ready"


class Beginning:
    """Shows in a thread what is going on, until it is stopped.

    Args:
        status: where the run stands.
        screen: where to draw.
        clock: monotonic seconds.
        pause: seconds between two looks.
    """

    def __init__(
        self,
        status: Callable[[], LoopStatus],
        screen: Screen,
        clock: Callable[[], float],
        pause: float = SECONDS_BETWEEN_LOOKS,
    ) -> None:
        self._status, self._screen, self._clock, self._pause = status, screen, clock, pause
        self._over = threading.Event()
        self._said: Rows = ()
        self._thread = threading.Thread(target=self._work, name="view", daemon=True)

    def start(self) -> None:
        """Begin to show."""
        self._thread.start()

    def stop(self) -> None:
        """End it; when this returns, nothing more is drawn."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        begun = self._clock()
        while not self._over.is_set():
            with contextlib.suppress(Exception):  # the loop may be changing what is read: the next look will do
                self._look(self._clock() - begun)
            self._over.wait(self._pause)

    def _look(self, seconds: float) -> None:
        doing = WORDS.get(self._status().doing, OTHERWISE)
        is_live = self._screen.is_live
        rows = [("now", doing), ("for", f"{seconds:.0f} s")] if is_live else [("now", doing)]
        if rows != self._said and (is_live or doing != OTHERWISE):
            self._said = rows
            self._screen.show(rows)
