"""TensorBoard: event files in the folder of the run, written without a framework."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensor_optix.callbacks.trackers.scalars import Names
from tensor_optix.callbacks.trackers.tracker import Point, Sent, TrackedRun, Tracker
from tensor_optix.support.optional import hidden, require

FOLDER = "tensorboard"
"""In the folder of a run."""
_LENGTH, _CHECKSUM = 8, 4
"""Bytes of a record's length, and of each of its two checksums."""


class TensorBoard(Tracker):
    """Writes the scalars of a run for TensorBoard: `tensorboard --logdir RUN_DIR/tensorboard`.

    A run that is resumed writes a further file. It begins with the mark by which TensorBoard drops the steps that the
    run has gone back behind (`purge_step`).

    Args:
        log_dir: None = `tensorboard/` in the folder of the run.
        names: whose names scalars have: `"sb3"` or `"cleanrl"`.
        timing: see `Tracker`.

    Raises:
        MissingDependencyError: tensorboardX is not installed; the message has the install line.
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = None, names: Names = "sb3", **timing: float) -> None:
        super().__init__(names, **timing)
        with hidden("torch"):  # which it names in a type: two seconds of processor time, and 200 MB
            self._files = require("tensorboardX.event_file_writer", "TensorBoard", "tensorboard")
        self._events = require("tensorboardX.proto.event_pb2", "TensorBoard", "tensorboard")
        self._summaries = require("tensorboardX.proto.summary_pb2", "TensorBoard", "tensorboard")
        self._log_dir = None if log_dir is None else Path(log_dir)
        self._writer: Any = None

    def open(self, run: TrackedRun) -> Sent:
        """Begin a file of events, after those that are there."""
        folder = run.directory / FOLDER if self._log_dir is None else self._log_dir
        folder.mkdir(parents=True, exist_ok=True)
        numbered = folder.glob(f"*.{glob.escape(run.run_id)}.[0-9]*")
        earlier = sorted(numbered, key=lambda path: path.name.rpartition(".")[2])
        upto = min(self._last_step(earlier), run.env_steps)
        # Numbered: two files of one second would have the same name, and TensorBoard reads them by their names.
        self._writer = self._files.EventsWriter(str(folder / "events"), f".{run.run_id}.{len(earlier):06d}")
        if earlier:
            begins = self._events.SessionLog(status=self._events.SessionLog.START)
            self._writer.write_event(self._events.Event(step=upto + 1, session_log=begins))
        self._writer.flush()
        return Sent(upto)

    def write(self, points: Sequence[Point]) -> None:
        """Write one event for each step."""
        for point in points:
            values = [self._summaries.Summary.Value(tag=n, simple_value=v) for n, v in point.values.items()]
            summary = self._summaries.Summary(value=values)
            self._writer.write_event(self._events.Event(step=point.step, wall_time=point.time, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _last_step(self, files: Sequence[Path]) -> int:
        """Return the last step of the newest file that has one; -1 where none has."""
        for path in reversed(files):
            record = last_record(path)
            event = self._events.Event.FromString(record)
            if event.HasField("session_log"):
                return event.step - 1  # it is the first that was to be written anew
            if event.HasField("summary"):
                return event.step
        return -1


def last_record(path: Path) -> bytes:
    """Return the last whole record of a file of events, empty where it has none.

    A record is its length (8 bytes, little-endian), a checksum, the content, and another checksum; a crash may have cut
    the last one short.
    """
    size, begin, length = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        at = 0
        while len(header := file.read(_LENGTH)) == _LENGTH:
            content = at + _LENGTH + _CHECKSUM
            end = content + int.from_bytes(header, "little") + _CHECKSUM
            if end > size:
                break
            begin, length, at = content, end - content - _CHECKSUM, end
            file.seek(end)
        file.seek(begin)
        return file.read(length)
