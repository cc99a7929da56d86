"""What a run leaves beside its snapshots: the history, one JSON line per evaluated window."""

import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO

from tensor_optix.core._atomic import storage_errors
from tensor_optix.core._schemas import decode_object, rebuilt
from tensor_optix.core.tuning import TuningRecord
from tensor_optix.core.types import EvalMetrics, HyperparamSet, jsonable
from tensor_optix.errors import CheckpointCorruptError

IN_MEMORY = 1000
MAX_LINE_BYTES = 1 << 20
"""Longest line of a history that is read."""


@dataclass(frozen=True, kw_only=True)
class HistoryRecord:
    """One evaluated window: what was measured, and what was decided on it. It holds no wall-clock time."""

    window_id: int
    env_steps: int
    """Training steps lived so far."""
    verdict: str
    state: str
    """State of the loop after the decision."""
    interval: int
    """Windows until the next evaluation."""
    best_score: float | None
    """Score of the best snapshot after the decision."""
    probed_param: str | None
    """Hyper-parameter that was on trial in this window."""
    hyperparams: HyperparamSet
    """The values that the window was lived with."""
    eval_metrics: EvalMetrics
    is_best: bool = False
    """True if the policy was saved as the new best."""
    tuning: tuple[TuningRecord, ...] = ()
    """What tuning did on this evaluation."""
    fault: str | None = None
    """What was wrong with the window, where nothing could be made of it."""
    event: str | None = None
    """What happened on watch: `drift`, `degradation`, or how a trial ended."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        nested = {
            "hyperparams": self.hyperparams.to_dict(),
            "eval_metrics": self.eval_metrics.to_dict(),
            "tuning": [record.to_dict() for record in self.tuning],
        }
        return {name: nested[name] if name in nested else jsonable(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)


class History:
    """The evaluated windows of a run: all of them on disk, the newest in memory."""

    def __init__(self, path: Path, in_memory: int = IN_MEMORY) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._recent: deque[HistoryRecord] = deque(maxlen=in_memory)

    def __len__(self) -> int:
        return len(self._recent)

    def __iter__(self) -> Iterator[HistoryRecord]:
        """Iterate over the records in memory, oldest first."""
        return iter(self._recent)

    def append(self, record: HistoryRecord) -> None:
        """Keep a record and write its line."""
        self._recent.append(record)
        with storage_errors("write", self._path):
            if self._file is None:
                _cut_torn_line(self._path)
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(json.dumps(record.to_dict(), allow_nan=False) + "\n")
            self._file.flush()

    def position(self) -> int:
        """Return the length of the file in bytes, all of which has reached the disk."""
        if self._file is not None:
            with storage_errors("write", self._path):
                self._file.flush()
                os.fsync(self._file.fileno())
        return self._path.stat().st_size if self._path.exists() else 0

    def go_back_to(self, position: int) -> None:
        """Drop what was appended after `position()` returned this, and take the newest records into memory.

        Raises:
            CheckpointCorruptError: the file is shorter, or what is left of it is no history.
        """
        self.close()
        with storage_errors("read", self._path):
            size = self._path.stat().st_size if self._path.exists() else 0
            if size < position:
                raise CheckpointCorruptError(
                    f"{str(self._path)!r} has {size} bytes, but the saved state of the run goes with {position}. "
                    f"Restore the file, or start a new run in another checkpoint_dir."
                )
            if size > position:
                os.truncate(self._path, position)
        self._recent.clear()
        if position:
            self._recent.extend(read_history(self._path)[-(self._recent.maxlen or IN_MEMORY) :])

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_history(path: Path | str) -> list[HistoryRecord]:
    """Read a `history.jsonl`; a last line that a crash cut short is left out.

    Raises:
        CheckpointCorruptError: a line is no record; the message names the line and the field.
        CheckpointStorageError: the file cannot be read.
    """
    path = Path(path)
    with storage_errors("read", path):
        data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    return [parse_record(line, f"Line {n} of {str(path)!r}") for n, line in enumerate(whole.splitlines(), 1)]


def parse_record(line: bytes, where: str) -> HistoryRecord:
    """Return the record that a line of a history holds.

    Raises:
        CheckpointCorruptError: it holds none; the message begins with `where` and names the field.
    """
    if len(line) > MAX_LINE_BYTES:
        raise CheckpointCorruptError(f"{where} is longer than {MAX_LINE_BYTES} bytes.")
    try:
        return HistoryRecord.from_dict(decode_object(line, where))
    except CheckpointCorruptError as error:
        raise error if str(error).startswith(where) else CheckpointCorruptError(f"{where}: {error}") from error


def _cut_torn_line(path: Path) -> None:
    """Drop a last line that a crash cut short: what is appended must begin a line of its own."""
    if path.exists():
        with path.open("r+b") as file:
            text = file.read()
            file.truncate(text.rfind(b"\n") + 1)
