"""What notices that a run hangs, by a clock and actions that are not of this process."""

import logging
import signal
import threading
from typing import Any

import pytest

from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.watchdog import LAST, PATIENCE, ProcessActions, Watchdog
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.deadlines import AT_FIRST, LEARNED_FROM, LEAST
from tensor_optix.support.heartbeat import HEARTBEAT


class Actions:
    def __init__(self) -> None:
        self.armed: list[float | None] = []
        self.interrupted: list[int] = []
        self.ended: list[int] = []

    def stacks(self) -> str:
        return "in step, line 7"

    def arm(self, seconds: float | None) -> None:
        self.armed.append(seconds)

    def interrupt(self, number: int) -> None:
        self.interrupted.append(number)

    def end(self, status: int) -> None:
        self.ended.append(status)


class Rig:
    def __init__(self, hang_timeout: float | None = None) -> None:
        self.now, self.hangs, self.actions = 0.0, 0, Actions()
        self.dog = Watchdog(hang_timeout, self.hang, lambda: self.now, self.actions)

    def hang(self) -> None:
        self.hangs += 1

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.dog.look()


def test_a_stand_still_is_reported_once_with_its_place_and_all_stacks(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(10.0)
    with rig.dog.at("loop"), rig.dog.at("collect"), caplog.at_level(logging.ERROR):
        rig.wait(10)
        assert rig.hangs == 0
        rig.wait(30)
        assert rig.hangs == 1
        HEARTBEAT.beats += 1  # it was slow, and goes on
        rig.wait(30)
    assert rig.hangs == 2
    assert "nothing has moved for 10 s in 'collect'" in caplog.text
    assert "in step, line 7" in caplog.text


def test_steps_and_changes_of_place_are_moves() -> None:
    rig = Rig(3.0)
    with rig.dog.at("loop"):
        for _ in range(10):
            rig.wait(2)
            HEARTBEAT.beats += 1
            rig.wait(2)
            with rig.dog.at("learn"):
                rig.wait(2)
    assert rig.hangs == 0


def test_the_deadline_is_learned_by_place() -> None:
    rig = Rig()
    with rig.dog.at("learn"):
        rig.wait(AT_FIRST)
        assert rig.hangs == 0
        rig.wait(2)
        assert rig.hangs == 1
        for _ in range(LEARNED_FROM + 1):
            HEARTBEAT.beats += 1
            rig.wait(1)
        rig.wait(25 * AT_FIRST)  # as slow as its slowest, twenty times
        assert rig.hangs == 2
    with rig.dog.at("collect"):
        for _ in range(LEARNED_FROM + 1):
            HEARTBEAT.beats += 1
            rig.wait(1)
        rig.wait(LEAST + 2)
        assert rig.hangs == 3


def test_a_timer_that_needs_no_lock_stands_behind_it() -> None:
    rig = Rig(10.0)
    with rig.dog.at("loop"):
        rig.wait(4)
        assert rig.actions.armed[-1] == pytest.approx(13.0 - 3.0)
        rig.wait(20)
    assert rig.actions.armed[-1] is None  # it has been reported


def test_a_signal_interrupts_what_stands_still_and_ends_what_stands_still_all_the_same() -> None:
    rig = Rig()
    with rig.dog.at("loop"):
        rig.wait(2)
        rig.dog.hurry(signal.SIGTERM)
        rig.wait(PATIENCE - 1)
        assert rig.actions.interrupted == []
        rig.wait(1)
        assert rig.actions.interrupted == [signal.SIGTERM]
        assert rig.dog.has_interrupted
        rig.wait(LAST - PATIENCE - 1)
        assert rig.actions.ended == []
        rig.wait(1)
    assert rig.actions.ended == [128 + signal.SIGTERM]
    assert rig.actions.interrupted == [signal.SIGTERM]


def test_a_hang_that_was_reported_is_interrupted_at_once() -> None:
    rig = Rig(3.0)
    with rig.dog.at("loop"):
        rig.wait(60)
        rig.dog.hurry(signal.SIGINT)
        rig.wait(1)
        assert rig.actions.interrupted == [signal.SIGINT]
        rig.wait(60)
    assert rig.actions.ended == []  # a terminal can say it once more


def test_what_moves_and_what_is_known_to_be_slow_is_not_interrupted() -> None:
    rig = Rig()
    with rig.dog.at("learn"):
        rig.wait(20)
        HEARTBEAT.beats += 1
        rig.wait(1)
        rig.dog.hurry(signal.SIGTERM)
        rig.wait(30)
        assert rig.actions.interrupted == []
        for _ in range(30):
            HEARTBEAT.beats += 1
            rig.wait(3)
    assert rig.actions.interrupted == []


def test_it_watches_as_long_as_the_run_is_and_leaves_no_thread() -> None:
    rig, before = Rig(), threading.active_count()
    with rig.dog.watching():
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert rig.actions.armed[-1] is None


def test_the_stacks_are_those_of_all_threads() -> None:
    waiting, done = threading.Event(), threading.Event()

    def stand_still() -> None:
        waiting.set()
        done.wait(60.0)

    thread = threading.Thread(target=stand_still)
    thread.start()
    waiting.wait(60.0)
    stacks = ProcessActions().stacks()
    done.set()
    thread.join()
    assert "in stand_still" in stacks
    assert "in test_the_stacks_are_those_of_all_threads" in stacks


@pytest.mark.parametrize("value", [0, -1.0, "1", True])
def test_a_timeout_is_a_number_of_seconds(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="hang_timeout must be a number of seconds above 0"):
        LoopConfig(hang_timeout=value)
