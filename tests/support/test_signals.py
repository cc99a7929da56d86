"""The first signal asks a run to stop, the second one interrupts it."""

import os
import signal
import threading

import pytest

from tensor_optix.support.signals import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_told_and_the_second_interrupts(number: signal.Signals) -> None:
    told: list[int] = []
    before = signal.getsignal(number)
    with stop_on_signals(told.append):
        os.kill(os.getpid(), number)
        assert told == [number]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert told == [number]
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_nothing_is_changed() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        with stop_on_signals(lambda number: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
