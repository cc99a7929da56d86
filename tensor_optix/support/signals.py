"""Ending a run by signal: the first one asks politely, the second one interrupts."""

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType


@contextlib.contextmanager
def stop_on_signals(stop: Callable[[int], None]) -> Generator[None]:
    """Call `stop` with the number of the first SIGINT or SIGTERM; raise `KeyboardInterrupt` on the next.

    Signals reach the main thread only: anywhere else this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > 1:
            raise KeyboardInterrupt
        stop(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
