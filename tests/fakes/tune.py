"""What a trial sees of Ray Tune, in this process: it keeps what is reported, with a copy of each checkpoint."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class FakeTune:
    """The module, for one trial.

    Args:
        kept: folder for the checkpoints.
        trial: its id.
        checkpoint: what it goes on from.
    """

    def __init__(self, kept: Path, trial: str = "a1b2c_00001", checkpoint: Path | None = None) -> None:
        self._kept, self._trial, self._checkpoint = kept, trial, checkpoint
        self.told, self.checkpoints = list[dict[str, Any]](), list[Path]()
        self.Checkpoint = SimpleNamespace(from_directory=Path)

    def get_context(self) -> Any:
        return SimpleNamespace(get_trial_id=lambda: self._trial)

    def get_checkpoint(self) -> Any:
        folder = self._checkpoint

        @contextlib.contextmanager
        def as_directory() -> Iterator[str]:
            yield str(folder)

        return None if folder is None else SimpleNamespace(as_directory=as_directory)

    def report(self, told: dict[str, Any], *, checkpoint: Path | None = None) -> None:
        self.told.append(told)
        if checkpoint is not None:
            self.checkpoints.append(self._kept / f"{self._trial}-{len(self.told)}")
            shutil.copytree(checkpoint, self.checkpoints[-1])
