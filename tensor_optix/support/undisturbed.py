"""While a window is played only its environments run between two actions: nothing trains, so no weights change."""

import contextlib
import threading
from collections.abc import Generator


class Undisturbed(threading.local):
    """Tells, in each thread by itself, whether a window is being played, and which."""

    def __init__(self) -> None:
        self.number = 0
        """Of the block that is entered; 0 outside of all."""
        self._entered = 0

    @contextlib.contextmanager
    def block(self) -> Generator[None]:
        """Play inside this; weights that change between two actions must do so eagerly or by an update of ours."""
        before, self._entered = self.number, self._entered + 1
        self.number = self._entered
        try:
            yield
        finally:
            self.number = before


UNDISTURBED = Undisturbed()
