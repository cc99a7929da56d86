"""Reading untrusted files: plain ones, of bounded size."""

import contextlib
import os
import stat
from collections.abc import Generator
from io import FileIO
from pathlib import Path

from tensor_optix.errors import CheckpointCorruptError

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
BINARY = getattr(os, "O_BINARY", 0)


def open_plain(path: str | os.PathLike[str], dir_fd: int | None = None, *, flags: int = os.O_RDONLY) -> int:
    """Open a file, for reading or as `flags` say, and return its descriptor; one that is created is this user's alone.

    A link is not followed, a pipe not waited for, and a file that has a second name (a hard link, through which others
    could change it) is refused.

    Raises:
        CheckpointCorruptError: it is not a plain file.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | NO_FOLLOW | BINARY | getattr(os, "O_NONBLOCK", 0), 0o600, dir_fd=dir_fd)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise CheckpointCorruptError(
        f"{str(path)!r} is neither a plain file nor a folder, or has {found.st_nlink} names (hard links); refusing to "
        f"use it."
    )


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Generator[tuple[FileIO, int]]:
    """Open a plain file for reading; yields it with its length in bytes.

    A symbolic link, a file with a second name elsewhere (a hard link), a pipe, a device or a folder is refused: it may
    stand for a file outside the run.

    Raises:
        CheckpointCorruptError: it is absent, cannot be read, or is no plain file.
    """
    try:
        file = os.fdopen(open_plain(path), "rb", buffering=0)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointCorruptError(f"{str(path)!r} cannot be read: {error}.") from error
    with file:
        yield file, os.fstat(file.fileno()).st_size


def read_exactly(file: FileIO, buffer: bytearray | memoryview, path: str | os.PathLike[str]) -> None:
    """Fill `buffer` from `file`, or raise `CheckpointCorruptError`."""
    view, done = memoryview(buffer).cast("B"), 0
    while done < len(view):
        try:
            count = file.readinto(view[done:])
        except OSError as error:
            raise CheckpointCorruptError(f"{str(path)!r} cannot be read: {error}.") from error
        if not count:
            raise CheckpointCorruptError(f"{str(path)!r} ends {len(view) - done} bytes early.")
        done += count


def read_plain(path: Path, max_bytes: int) -> bytes:
    """Return the content of a plain file of at most `max_bytes`.

    Raises:
        CheckpointCorruptError: it is larger, absent, cannot be read, or is no plain file.
    """
    with opened(path) as (file, size):
        if size > max_bytes:
            raise CheckpointCorruptError(f"{str(path)!r} is larger than {max_bytes} bytes.")
        data = bytearray(size)
        read_exactly(file, data, path)
        return bytes(data)
