"""A file of JSON lines that a run appends to, and that a resumed run cuts back to where its saved state was."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from tensor_optix.core.storage.atomic import storage_errors
from tensor_optix.core.storage.reading import open_plain
from tensor_optix.errors import CheckpointCorruptError

HISTORY, EVENTS, WINDOWS, TIMINGS = "history.jsonl", "events.jsonl", "windows.jsonl", "timings.jsonl"
ENVIRONMENT, REPORT, DESCRIPTION = "environment.json", "report.json", "run.json"
MULTIRUN = "multirun.json"
"""What several runs in one folder are as one job."""
RUN_ID = "run_id"
"""In `run.json`: by which trackers know a run when it is resumed."""
RECORDS = (HISTORY, EVENTS, WINDOWS, TIMINGS, ENVIRONMENT, REPORT)
"""What a run leaves in its folder for whoever looks at it later."""
CLIP, PAGE = "clip.gif", "report.html"
BESIDE = ("tensorboard", "wandb", CLIP, PAGE)
"""What others leave there: trackers, recordings, the page."""
MAX_LINE_BYTES = 1 << 20
"""Longest line that is read."""
MAX_TAIL_BYTES = 1 << 24
"""Bytes that a run which goes on reads again."""
Record: TypeAlias = Mapping[str, Any]
"""What a line stands for, or a file that is one object: JSON values, any of which may be damaged."""


class LineLog:
    """Appends lines; the file is made with the first one.

    It is opened as every other of a run: a link in its place could let the file of somebody else be cut.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None

    def append(self, record: Mapping[str, object]) -> None:
        """Write a record, plain JSON values, as a line; a line that the disk refuses leaves nothing behind.

        Raises:
            CheckpointStorageError: the disk refuses it.
        """
        with storage_errors("write", self._path):
            if self._file is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
                self._file = FileIO(open_plain(self._path, flags=flags), "r+")
                # What is appended must begin a line of its own, also where a crash cut the last one short.
                self._file.truncate(_whole_lines(self._file))
            left = memoryview((json.dumps(record, allow_nan=False) + "\n").encode())
            end = self._file.seek(0, os.SEEK_END)
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(end)
                raise

    def position(self, *, sync: bool = True) -> int:
        """Return the length of the file in bytes.

        Args:
            sync: True to wait until all of it has reached the disk.

        Raises:
            CheckpointStorageError: the disk refuses it.
        """
        if sync and self._file is not None:
            with storage_errors("write", self._path):
                os.fsync(self._file.fileno())
        return self._path.stat().st_size if self._path.exists() else 0

    def go_back_to(self, position: int, newest: int = 0) -> list[bytes]:
        """Drop what was appended after `position()` returned this, and return the newest lines that are left.

        Args:
            position: in bytes.
            newest: lines to return at most.

        Raises:
            CheckpointCorruptError: the file is shorter, or is no plain file.
            CheckpointStorageError: it cannot be read or cut.
        """
        self.close()
        with storage_errors("read", self._path), contextlib.ExitStack() as stack:
            size, file = 0, None
            with contextlib.suppress(FileNotFoundError):
                file = stack.enter_context(FileIO(open_plain(self._path, flags=os.O_RDWR), "r+"))
                size = os.fstat(file.fileno()).st_size
            if size < position:
                raise CheckpointCorruptError(
                    f"{str(self._path)!r} has {size} bytes, but the saved state of the run goes with {position}. "
                    f"Restore the file, or start a new run in another checkpoint_dir."
                )
            if file is None:
                return []
            lines = _last_lines(file, position, newest) if newest else []
            file.truncate(position)
            return lines

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Iterate over the lines of a file, each with its end; a last one that has none is left out.

    One that is longer than `MAX_LINE_BYTES` is the last, and is cut one byte after that.
    """
    while line := file.readline(MAX_LINE_BYTES + 1):
        if line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
            yield line
        if not line.endswith(b"\n"):
            return


def _last_lines(file: FileIO, end: int, most: int) -> list[bytes]:
    """Return the last `most` lines before `end`: a run may have collected millions of windows."""
    begin = max(end - MAX_TAIL_BYTES, 0)
    file.seek(begin)
    tail = file.read(end - begin).removesuffix(b"\n")
    start = len(tail)
    for _ in range(most):
        start = tail.rfind(b"\n", 0, start)
        if start < 0:
            break
    # Where the file goes on before the tail, its first line may have been cut.
    found = tail[start + 1 :].split(b"\n") if tail else []
    return found[1:] if begin and start < 0 else found


def _whole_lines(file: FileIO) -> int:
    """Return the length of a file up to its last line end."""
    end = file.seek(0, os.SEEK_END)
    begin = max(end - MAX_LINE_BYTES, 0)
    file.seek(begin)
    found = file.read(end - begin).rfind(b"\n")
    return begin + found + 1
