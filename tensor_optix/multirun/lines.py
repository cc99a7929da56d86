"""The live view of several runs: a line for each, redrawn in a terminal, printed now and then elsewhere."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tensor_optix._visible import in_line
from tensor_optix.executors import Event
from tensor_optix.support.plain import SavedState

_SECONDS_BETWEEN_DRAWINGS = 0.25
_SECONDS_BETWEEN_LINES = 10.0


class Lines:
    """Shows where each run stands; a context manager that takes the events of an executor.

    Args:
        names: of the runs, in the order of the items.
        console: where to draw; None = standard error.
        clock: monotonic seconds.
    """

    def __init__(
        self, names: Sequence[str], console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._names = list(names)
        self._texts = ["waiting"] * len(names)
        self._console = console or Console(file=sys.stderr)
        self._clock = clock
        self._live: Live | None = None
        self._drawn = -math.inf
        self._printed = [-math.inf] * len(names)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._draw()
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Take what has happened to a run."""
        if event.kind == "told" and "steps" not in event.values:
            return
        self._texts[event.index] = _text(event)
        now = self._clock()
        if self._live is not None:
            if event.kind != "told" or now - self._drawn >= _SECONDS_BETWEEN_DRAWINGS:
                self._drawn = now
                self._draw()
        elif event.kind != "told" or now - self._printed[event.index] >= _SECONDS_BETWEEN_LINES:
            self._printed[event.index] = now
            self._console.print(self._line(event.index), soft_wrap=True, highlight=False, markup=False)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(Text("\n".join(map(self._line, range(len(self._names))))), refresh=True)

    def _line(self, index: int) -> str:
        width = max(map(len, self._names))
        return in_line(f"{self._names[index]:<{width}}  {self._texts[index]}")


def _text(event: Event) -> str:
    if event.kind == "begun":
        return "begun" if event.attempt == 1 else f"goes on (attempt {event.attempt})"
    if event.kind == "lost":
        return f"its worker died ({event.values})"
    if event.kind == "failed":
        return str(event.values).partition("\n")[0]
    return "done" if event.kind == "done" else _standing(event.values)


def _standing(told: SavedState) -> str:
    parts = [f"{told['steps']:>12,} steps", f"{told['state']:<8}"]
    parts += [f"{name} {told[name]:,.1f}" for name in ("score", "best") if told[name] is not None]
    return "  ".join(parts)
