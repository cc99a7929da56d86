"""What a run leaves beside its snapshots: the history, one JSON line per evaluated window."""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tensor_optix.core.loop.tuning import TuningRecord
from tensor_optix.core.storage.atomic import storage_errors
from tensor_optix.core.storage.line_log import MAX_LINE_BYTES, LineLog, whole_lines
from tensor_optix.core.storage.reading import open_plain
from tensor_optix.core.types import EvalMetrics, HyperparamSet, jsonable
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.json_lines import decoded
from tensor_optix.support.plain import Json
from tensor_optix.support.schemas import decode_object, rebuilt

IN_MEMORY = 1000


@dataclass(frozen=True, kw_only=True)
class HistoryRecord:
    """One evaluated window: what was measured, and what was decided on it. It holds no wall-clock time."""

    window_id: int
    env_steps: int
    """Training steps collected so far."""
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
    """The values in force while the window was collected."""
    eval_metrics: EvalMetrics
    is_best: bool = False
    """True if the policy was saved as the new best."""
    tuning: tuple[TuningRecord, ...] = ()
    """What tuning did on this evaluation."""
    fault: str | None = None
    """What was wrong with the window, where nothing could be made of it."""
    event: str | None = None
    """What happened on watch (`drift`, `degradation`, or how a trial ended), or to an escape."""
    start_score: float | None = None
    """Score of the untrained policy, or else of the first window, where it is known."""

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON values."""
        nested = {
            "hyperparams": self.hyperparams.to_dict(),
            "eval_metrics": self.eval_metrics.to_dict(),
            "tuning": [record.to_dict() for record in self.tuning],
        }
        return {name: nested[name] if name in nested else jsonable(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)


class History:
    """The evaluated windows of a run: all of them on disk, the newest in memory."""

    def __init__(self, path: Path, in_memory: int = IN_MEMORY) -> None:
        self._path = path.absolute()
        self._in_memory = in_memory
        self._lines = LineLog(path)
        self._recent: deque[HistoryRecord] = deque(maxlen=in_memory)

    def __len__(self) -> int:
        return len(self._recent)

    def __iter__(self) -> Iterator[HistoryRecord]:
        """Iterate over the records in memory, oldest first."""
        return iter(self._recent)

    def append(self, record: HistoryRecord) -> None:
        """Keep a record and write its line.

        Raises:
            CheckpointStorageError: the disk refuses it.
        """
        self._recent.append(record)
        self._lines.append(record.to_dict())

    def position(self) -> int:
        """Return the length of the file in bytes, all of which has reached the disk."""
        return self._lines.position()

    def go_back_to(self, position: int) -> None:
        """Drop what was appended after `position()` returned this, and take the newest records into memory.

        Raises:
            CheckpointCorruptError: the file is shorter, is no plain file, or its newest lines are no history.
            CheckpointStorageError: it cannot be read or cut.
        """
        self._recent.clear()
        newest = self._lines.go_back_to(position, self._in_memory)
        self._recent.extend(parse_record(line, f"A line of {str(self._path)!r}") for line in newest)

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        self._lines.close()


def read_history(path: Path | str) -> Iterator[HistoryRecord]:
    """Iterate over the records of a `history.jsonl`, of which one is in memory at a time.

    A last line that a crash cut short is left out.

    Raises:
        CheckpointCorruptError: it is no plain file, or a line is no record; the message names the line and the field.
            Of a line it is raised when the iteration arrives there.
        CheckpointStorageError: it cannot be read.
    """
    path = Path(path)
    with storage_errors("read", path):
        os.close(open_plain(path))
    return _records(path)


def _records(path: Path) -> Iterator[HistoryRecord]:
    with storage_errors("read", path), os.fdopen(open_plain(path), "rb") as file:
        for number, line in enumerate(whole_lines(file), 1):
            yield quickly_parsed(line, f"Line {number} of {str(path)!r}")


def quickly_parsed(line: bytes, where: str) -> HistoryRecord:
    """Return what `parse_record` does, a sound line in a twentieth of its time; of a key that is there twice the last.

    Raises:
        CheckpointCorruptError: it holds none; the message begins with `where` and names the field.
    """
    record = decoded(HistoryRecord, line)
    return parse_record(line, where) if record is None else record


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
