"""What the live view shows before the first window has ended."""

import threading
from dataclasses import replace

from tensor_optix.callbacks.beginning import Beginning
from tensor_optix.callbacks.screens import Rows
from tensor_optix.core.loop.parts import LoopStatus
from tests.fakes.statuses import STATUS


class Shown:
    """A screen that keeps what it shows, and lets a test wait for it."""

    def __init__(self, is_live: bool, wanted: int) -> None:
        self.is_live, self.wanted = is_live, wanted
        self.rows: list[Rows] = []
        self.is_full = threading.Event()

    def open(self) -> None: ...

    def show(self, rows: Rows) -> None:
        self.rows.append(rows)
        if len(self.rows) >= self.wanted:
            self.is_full.set()

    def close(self) -> None: ...


def shown(phases: list[str], screen: Shown) -> list[Rows]:
    left = iter(phases)

    def status() -> LoopStatus:
        return replace(STATUS, doing=next(left))  # ends with StopIteration, which is the loop's own affair

    clock = iter(range(1000))
    beginning = Beginning(status, screen, lambda: float(next(clock)), pause=0.0)
    beginning.start()
    assert screen.is_full.wait(60)
    beginning.stop()
    return screen.rows


def test_a_live_view_says_what_is_going_on_and_for_how_long() -> None:
    found = shown(["", "validate", "learn"], Shown(is_live=True, wanted=3))
    assert [dict(rows) for rows in found] == [
        {"now": "getting ready", "for": "1 s"},
        {"now": "playing held-out episodes", "for": "2 s"},
        {"now": "learning from it for the first time, which may compile the models", "for": "3 s"},
    ]


def test_lines_say_each_thing_once() -> None:
    found = shown(["", "collect", "collect", "", "learn"], Shown(is_live=False, wanted=2))
    assert [rows[0][1].partition(" ")[0] for rows in found] == ["collecting", "learning"]


def test_what_has_not_changed_is_not_drawn_again() -> None:
    screen, said = Shown(is_live=True, wanted=2), iter(["learn"] * 4 + ["validate"])
    times = iter([0.0, 0.1, 0.2, 0.4, 0.4, 0.4])
    beginning = Beginning(lambda: replace(STATUS, doing=next(said)), screen, lambda: next(times), pause=0.0)
    beginning.start()
    assert screen.is_full.wait(60)
    beginning.stop()
    assert [dict(rows)["for"] for rows in screen.rows] == ["0 s", "0 s"]
