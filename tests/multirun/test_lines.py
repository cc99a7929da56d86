from io import StringIO

import pytest
from rich.console import Console

from tensor_optix.executors import Event
from tensor_optix.multirun.lines import Lines

TOLD = {"windows": 2, "steps": 4096, "state": "ACTIVE", "score": 21.5, "best": None}


def shown(*events: Event, terminal: bool = False, seconds: float = 0.0) -> str:
    out, now = StringIO(), [0.0]

    def clock() -> float:
        now[0] += seconds
        return now[0]

    with Lines(["seed-0", "seed-10"], Console(file=out, force_terminal=terminal, width=100), clock) as lines:
        for event in events:
            lines(event)
    return out.getvalue()


def test_each_run_has_lines_of_its_own_now_and_then() -> None:
    events = (Event("begun", 0), *[Event("told", 0, values=TOLD)] * 3, Event("done", 0))
    assert shown(*events).splitlines() == ["seed-0   begun", "seed-0   done"]
    text = shown(*events, seconds=11.0).splitlines()
    assert text[1] == "seed-0          4,096 steps  ACTIVE    score 21.5"
    assert len(text) == 5


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event("begun", 1, 2), "seed-10  goes on (attempt 2)"),
        (Event("lost", 1, values="killed by SIGKILL"), "seed-10  its worker died (killed by SIGKILL)"),
        (Event("failed", 1, values="Item 1 failed\nTraceback"), "seed-10  Item 1 failed"),
    ],
)
def test_what_happens_is_said_at_once(event: Event, text: str) -> None:
    assert shown(event).splitlines() == [text]


def test_what_is_no_standing_is_not_shown() -> None:
    assert shown(Event("told", 0, values={"interrupted": True})) == ""


def test_a_terminal_shows_all_of_them_at_once() -> None:
    text = shown(Event("told", 1, values=TOLD), terminal=True, seconds=1.0)
    assert "seed-0   waiting" in text
    assert "4,096 steps" in text
