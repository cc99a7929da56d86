"""Where the live view of a run is drawn: in a terminal, in a notebook, or as lines where there is neither."""

import contextlib
import sys
from collections.abc import Generator, Sequence
from typing import Any, Protocol, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from tensor_optix._visible import in_line
from tensor_optix.support.html import table

Rows: TypeAlias = Sequence[tuple[str, str]]
"""What is shown: (label, text)."""
TITLE = "tensor-optix"
_GAP = 2
"""Columns between a label and its text."""
_FRAME = 4
"""Columns of a panel's frame."""


class Screen(Protocol):
    """Shows the newest rows."""

    is_live: bool
    """True if new rows take the place of those before."""

    def open(self) -> None:
        """Begin to show."""
        ...

    def show(self, rows: Rows) -> None:
        """Show rows."""
        ...

    def close(self) -> None:
        """End showing."""
        ...


class TerminalScreen:
    """A panel that stays where it is.

    Args:
        console: of the terminal.
    """

    is_live = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def open(self) -> None:
        """Open the panel."""
        self._live.start()

    def show(self, rows: Rows) -> None:
        """Draw the panel anew."""
        # One text: a table of rich takes three times as long, for as long as the run lasts.
        wide = max((len(label) for label, _ in rows), default=0) + _GAP
        shown = Text()
        for label, value in rows:
            for number, line in enumerate(self._lines(in_line(value), self._console.width - _FRAME - wide)):
                shown.append("\n" if shown else "")
                shown.append(("" if number else label).ljust(wide), "dim")
                shown.append(line)
        self._live.update(Panel(shown, title=TITLE, title_align="left", expand=False), refresh=True)

    def _lines(self, text: str, width: int) -> list[str]:
        if cell_len(text) <= width:
            return [text]
        return [line.plain for line in Text(text).wrap(self._console, max(width, 1))]

    def close(self) -> None:
        """Take the panel away."""
        self._live.stop()


class LineScreen:
    """A line for each time.

    Args:
        console: where to write.
    """

    is_live = False

    def __init__(self, console: Console) -> None:
        self._console = console

    def open(self) -> None:
        """Nothing needs to be opened."""

    def show(self, rows: Rows) -> None:
        """Write a line."""
        line = "  ".join(f"{label}={in_line(value)}" for label, value in rows)
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def close(self) -> None:
        """Nothing needs to be closed."""


class NotebookScreen:
    """A table in the output of a cell, which needs no widgets.

    Args:
        display: `IPython.display`.
    """

    is_live = True

    def __init__(self, display: Any) -> None:
        self._display = display
        self._shown: Any = None

    def open(self) -> None:
        """Nothing needs to be opened."""

    def show(self, rows: Rows) -> None:
        """Put a table in the place of the one before."""
        found = self._display.HTML(table(TITLE, rows))
        if self._shown is None:
            self._shown = self._display.display(found, display_id=True)
        else:
            self._shown.update(found)

    def close(self) -> None:
        """Leave the last table where it is."""
        self._shown = None


@contextlib.contextmanager
def told(what: str, console: Console | None = None) -> Generator[None]:
    """Say in a terminal what takes its time, while it does; elsewhere nothing is said.

    Args:
        what: is going on.
        console: where; None = standard error.
    """
    console = console or Console(file=sys.stderr)
    if not console.is_terminal or console.is_jupyter:
        yield
        return
    with console.status(Text(f"{what} ...")):
        yield


def screen_for(console: Console) -> Screen:
    """Return where to draw."""
    if console.is_jupyter and (display := sys.modules.get("IPython.display")) is not None:
        return NotebookScreen(display)
    return TerminalScreen(console) if console.is_terminal else LineScreen(console)
