"""Where the live view is drawn."""

import sys
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tensor_optix.callbacks.screens import LineScreen, NotebookScreen, TerminalScreen, screen_for, told

ROWS = [("state", "ACTIVE"), ("best", "<b>1.0</b>")]


class FakeDisplay:
    """The part of `IPython.display` that is used."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def HTML(self, text: str) -> str:
        return text

    def display(self, text: str, display_id: bool) -> Any:
        assert display_id
        self.shown.append(text)
        return SimpleNamespace(update=lambda newer: self.shown.__setitem__(-1, newer))


def test_a_notebook_shows_one_table_that_is_replaced() -> None:
    display = FakeDisplay()
    screen = NotebookScreen(display)
    screen.open()
    screen.show([("state", "ACTIVE")])
    screen.show(ROWS)
    (table,) = display.shown
    assert "&lt;b&gt;1.0&lt;/b&gt;" in table
    screen.close()
    screen.show(ROWS)  # another run has a table of its own
    assert len(display.shown) == 2


def test_lines_are_plain() -> None:
    file = StringIO()
    LineScreen(Console(file=file)).show(ROWS)
    assert file.getvalue() == "state=ACTIVE  best=<b>1.0</b>\n"


def test_a_terminal_shows_a_panel() -> None:
    file = StringIO()
    screen = TerminalScreen(Console(file=file, force_terminal=True, width=60))
    screen.open()
    screen.show(ROWS)
    screen.close()
    assert "tensor-optix" in file.getvalue()


def test_a_long_text_goes_on_beneath_itself_in_the_panel() -> None:
    file = StringIO()
    screen = TerminalScreen(Console(file=file, force_terminal=True, width=30, color_system=None))
    screen.open()
    screen.show([("state", "one two three four five six"), ("best", "1.0")])
    screen.close()
    lines = [line.rstrip() for line in file.getvalue().splitlines() if line.startswith("│")]
    assert lines[:3] == [
        "│ state  one two three four  │",
        "│        five six            │",
        "│ best   1.0                 │",
    ]


def test_each_place_has_its_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(screen_for(Console(file=StringIO(), force_terminal=True)), TerminalScreen)
    assert isinstance(screen_for(Console(file=StringIO())), LineScreen)
    monkeypatch.setitem(sys.modules, "IPython.display", FakeDisplay())  # type: ignore[arg-type]
    notebook = screen_for(Console(file=StringIO(), force_jupyter=True))
    assert isinstance(notebook, NotebookScreen)
    assert notebook.is_live


def test_what_takes_its_time_is_said_in_a_terminal_only() -> None:
    for is_terminal in (True, False):
        file = StringIO()
        with told("measuring", Console(file=file, force_terminal=is_terminal)):
            pass
        assert ("measuring ..." in file.getvalue()) is is_terminal


@pytest.mark.parametrize("kind", [LineScreen, TerminalScreen])
def test_a_name_from_a_file_does_not_speak_to_the_terminal(kind: type) -> None:
    out = StringIO()
    screen = kind(Console(file=out, width=120))
    screen.open()
    screen.show([("probing", "\x1b[31mlr\n\x07forged=1")])
    screen.close()
    assert "\x1b[31m" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "\\u001b[31mlr\\n\\u0007forged=1" in out.getvalue() or kind is TerminalScreen
