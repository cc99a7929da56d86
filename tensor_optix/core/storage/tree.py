"""Descents into a folder that follow no link: checksums, syncing, deletion.

Each level is reached through the open descriptor of the one above it, so that nobody can swap a folder for a link
between the look and the deed. Where the platform has no such calls, paths are used.
"""

import _thread
import contextlib
import errno
import hashlib
import itertools
import logging
import os
import queue
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tensor_optix.core.storage import atomic
from tensor_optix.core.storage.reading import open_plain
from tensor_optix.errors import CheckpointCorruptError

logger = logging.getLogger(__name__)

MAX_DEPTH = 32
AT_ONCE = 8
"""Files and folders that are synced at the same time."""
_BY_DESCRIPTOR = {os.open, os.stat, os.unlink, os.rmdir} <= os.supports_dir_fd and os.listdir in os.supports_fd
# Only a descriptor that may write can be synced there.
_SYNCABLE = os.O_RDONLY if os.name == "posix" else os.O_RDWR

Checksums = dict[str, dict[str, Any]]


class _Folder:
    """A folder held open."""

    def __init__(self, path: Path, name: str | Path, dir_fd: int | None, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise OSError(errno.ELOOP, f"Folders are nested deeper than {MAX_DEPTH}", str(path))
        self.path, self._depth = path, depth
        self._fd = (
            os.open(name, os.O_RDONLY | os.O_DIRECTORY | atomic.NO_FOLLOW, dir_fd=dir_fd) if _BY_DESCRIPTOR else None
        )

    @classmethod
    def at(cls, path: Path) -> Self:
        return cls(path, path, None, 0)

    def below(self, name: str) -> "_Folder":
        where, dir_fd = self._reach(name)
        return _Folder(self.path / name, where, dir_fd, self._depth + 1)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path if self._fd is None else self._fd))

    def holds_folder(self, name: str) -> bool:
        where, dir_fd = self._reach(name)
        return stat.S_ISDIR(os.stat(where, dir_fd=dir_fd, follow_symlinks=False).st_mode)

    def open_file(self, name: str, flags: int) -> int:
        try:
            return open_plain(*self._reach(name), flags=flags)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EOPNOTSUPP):  # a link, a pipe, a socket
                raise CheckpointCorruptError(
                    f"{str(self.path / name)!r} is neither a plain file nor a folder; refusing to read it."
                ) from error
            raise

    def unlink(self, name: str) -> None:
        where, dir_fd = self._reach(name)
        os.unlink(where, dir_fd=dir_fd)

    def rmdir(self, name: str) -> None:
        where, dir_fd = self._reach(name)
        os.rmdir(where, dir_fd=dir_fd)

    def duplicate(self) -> int | None:
        return None if self._fd is None else os.dup(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def _reach(self, name: str) -> tuple[str | Path, int | None]:
        return (self.path / name, None) if self._fd is None else (name, self._fd)


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder and no link to one.

    Raises:
        OSError: it cannot be told.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISDIR(os.lstat(path).st_mode)
    return False


def is_gone(path: Path) -> bool:
    """Return whether there is certainly nothing at `path`, not only trouble with looking."""
    try:
        os.lstat(path)
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def checksums(
    path: Path, expected: Mapping[str, Mapping[str, object]] | None = None, *, contents: bool = True
) -> Checksums:
    """Return `{relative posix path: {"bytes": length, "sha256": hex}}` for every file below `path`.

    Args:
        path: a folder.
        expected: what an earlier call returned; a file that has another length is not read, and has no hash.
        contents: False reads no file, so that none has a hash.

    Raises:
        CheckpointCorruptError: something below is neither a plain file nor a folder.
        OSError: it cannot be read.
    """
    found: Checksums = {}
    with _Folder.at(path) as folder:
        _sum(folder, "", found, expected, contents=contents)
    return found


def sync(path: Path) -> None:
    """Return when a folder, and all below it, has reached the disk."""
    waiting: list[int] = []
    try:
        with _Folder.at(path) as folder:
            _sync(folder, waiting)
        _flush(waiting)
    finally:
        for descriptor in waiting:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file, a link (not what it points to) or a folder with all below it; harmless if there is none."""
    with contextlib.suppress(FileNotFoundError):
        if is_folder(path):
            with _Folder.at(path) as folder:
                _empty(folder)
            path.rmdir()
        else:
            path.unlink()


def try_remove(path: Path) -> bool:
    """`remove`, but report a failure instead of raising: what is left is cleared at the next opening."""
    try:
        remove(path)
    except OSError as error:
        logger.warning("%r could not be removed: %s. It is tried again when the directory is opened.", str(path), error)
        return False
    return True


def move_to_new(directory: Path, names: Sequence[str], stem: str) -> Path:
    """Move what has these names in `directory` to a new folder of it, `<stem><n>`; return that when it is on disk.

    Where that fails, all is moved back, so that the next try does the whole again.
    """
    taken = set(os.listdir(directory))
    target = directory / next(name for n in itertools.count() if (name := f"{stem}{n:03d}") not in taken)
    atomic.make_directory(target)
    try:
        for name in names:
            os.rename(directory / name, target / name)
        atomic.fsync_directory(target)
        atomic.fsync_directory(directory)
    except BaseException:
        with contextlib.suppress(OSError):
            for name in os.listdir(target):
                os.rename(target / name, directory / name)
            target.rmdir()
        raise
    return target


def _sum(
    folder: _Folder,
    prefix: str,
    found: Checksums,
    expected: Mapping[str, Mapping[str, object]] | None,
    *,
    contents: bool,
) -> None:
    for name in folder.names():
        relative = f"{prefix}{name}"
        if folder.holds_folder(name):
            with folder.below(name) as inner:
                _sum(inner, f"{relative}/", found, expected, contents=contents)
            continue
        with os.fdopen(folder.open_file(name, os.O_RDONLY), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            found[relative] = {"bytes": size}
            if contents and (expected is None or expected.get(relative, {}).get("bytes") == size):
                found[relative]["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: _Folder, waiting: list[int]) -> None:
    """Sync what is below a folder, but for the last files, whose open descriptors are left in `waiting`."""
    for name in folder.names():
        if folder.holds_folder(name):
            with folder.below(name) as inner:
                _sync(inner, waiting)
        else:
            waiting.append(folder.open_file(name, _SYNCABLE))
        _flush_surplus(waiting)
    if (own := folder.duplicate()) is not None:
        waiting.append(own)
        _flush_surplus(waiting)


def _flush_surplus(waiting: list[int]) -> None:
    if len(waiting) >= AT_ONCE:
        _flush(waiting)
        while waiting:
            os.close(waiting.pop())


def _flush(descriptors: Sequence[int]) -> None:
    """Return when what is open has reached the disk: all at once, as a process that waits is late each time."""
    failed = queue.SimpleQueue[BaseException | None]()

    def flush(descriptor: int) -> None:
        try:
            os.fsync(descriptor)
            failed.put(None)
        except BaseException as error:  # raised below
            failed.put(error)

    for descriptor in descriptors[1:]:
        try:
            _thread.start_new_thread(flush, (descriptor,))  # `Thread.start` waits until the thread runs
        except RuntimeError:  # none can be started
            flush(descriptor)
    for descriptor in descriptors[:1]:
        flush(descriptor)
    errors = [error for _ in descriptors if (error := failed.get()) is not None]
    if errors:
        raise errors[0]


def _empty(folder: _Folder) -> None:
    for name in folder.names():
        if folder.holds_folder(name):
            with folder.below(name) as inner:
                _empty(inner)
            folder.rmdir(name)
        else:
            folder.unlink(name)
