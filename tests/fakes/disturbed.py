"""An environment that takes its time, and fails when a file asks it to."""

import os
import time
from pathlib import Path
from typing import Any

import gymnasium as gym

from tests.fakes.failing import EXIT, HANG, KILL, RAISE, fail

FAULTS = {"raise": RAISE, "hang": HANG, "exit": EXIT, "kill": KILL}
"""Names of files, and what they ask for."""


class Disturbed(gym.Wrapper):
    """Acrobot on a slow simulator. The first process that finds a file of `FAULTS` deletes it and fails.

    Args:
        seconds: that a step takes.
        folder: where the files come; none: nothing fails.
        spared: the process whose children never fail: they would take the run with them.
    """

    def __init__(self, seconds: float = 0.0, folder: str | None = None, spared: int = 0, **kwargs: Any) -> None:
        super().__init__(gym.make("Acrobot-v1", **kwargs))
        self._seconds = seconds
        self._folder = Path(folder) if folder is not None and os.getppid() != spared else None

    def step(self, action: Any) -> Any:
        time.sleep(self._seconds)
        if self._folder is not None:
            self._fail_as_asked(self._folder)
        return super().step(action)

    def _fail_as_asked(self, folder: Path) -> None:
        for name, fault in FAULTS.items():
            try:
                (folder / name).unlink()
            except FileNotFoundError:
                continue
            fail(fault)
