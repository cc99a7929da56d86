"""Calling the hooks of several callbacks, whose failures and delays are counted."""

import copy
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop_callback import LoopCallback

logger = logging.getLogger(__name__)

SLOW_SHARE = 0.5
"""Of a window's time, that a callback may take."""


SLOW_SECONDS = 1.0
"""What a callback may take in a window in any case."""


LAST_HOOK = "on_episode_end"
"""The one that ends a window."""


class CallbackList:
    """Tells several callbacks, in order; what one of them raises is logged with its name and goes no further.

    One that takes more than half of a window's time, and more than a second, is counted, and reported once.

    Args:
        callbacks: who is told.
        clock: monotonic seconds.
        health: where the faults are counted.
    """

    def __init__(self, callbacks: Sequence[LoopCallback], clock: Callable[[], float], health: Health) -> None:
        self._callbacks = list(callbacks)
        self._clock, self._health = clock, health
        self._reported: set[int] = set()
        self._begin_window()

    def call(self, hook: str, *args: object) -> None:
        """Call one hook of every callback, each with copies of the arguments."""
        for i, callback in enumerate(self._callbacks):
            begun = self._clock()
            try:
                method = getattr(callback, hook, None)
                if method is not None:  # an object with some of the hooks will do
                    method(*copy.deepcopy(args))
            except KeyboardInterrupt:
                raise
            except BaseException:
                self._health.count("callback")
                logger.exception("Callback %s.%s failed.", type(callback).__name__, hook)
            self._seconds[i] += self._clock() - begun
        if hook == LAST_HOOK:
            self._end_window()
        elif hook == "on_loop_start":
            self._begin_window()

    def _end_window(self) -> None:
        window = self._clock() - self._window_began
        for i, seconds in self._seconds.items():
            if seconds <= max(SLOW_SECONDS, SLOW_SHARE * window):
                continue
            self._health.count("slow callback")
            if i not in self._reported:
                self._reported.add(i)
                logger.warning(
                    "Callback %s took %.1f s of a window of %.1f s: the training waits for it. Do less in it, or do it "
                    "in a thread of its own.",
                    type(self._callbacks[i]).__name__,
                    seconds,
                    window,
                )
        self._begin_window()

    def _begin_window(self) -> None:
        self._seconds: dict[int, float] = defaultdict(float)  # that each has taken in the window in hand
        self._window_began = self._clock()
