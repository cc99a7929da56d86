"""Reading a file that nobody vouches for: a plain one, of no more than so many bytes."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tensor_optix.errors import CheckpointCorruptError


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """Open a plain file for reading, and give it with its length in bytes.

    A symbolic link, a file with a second name elsewhere (a hard link), a pipe, a device or a folder is refused: who put
    it there may mean a file that is none of the run's.

    Raises:
        CheckpointCorruptError: it is absent, cannot be read, or is no plain file.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointCorruptError(f"{str(path)!r} cannot be read: {error}.") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointCorruptError(f"{str(path)!r} is no plain file; refusing to read it.")
        if found.st_nlink > 1:
            raise CheckpointCorruptError(
                f"{str(path)!r} is a hard link: the file has {found.st_nlink} names. Copy it to make it the run's own."
            )
        file = os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise
    with file:
        yield file, found.st_size  # pyright: ignore[reportReturnType]


def read_exactly(file: BinaryIO, buffer: bytearray | memoryview, path: str | os.PathLike[str]) -> None:
    """Fill `buffer` from `file`, or raise `CheckpointCorruptError`."""
    view, done = memoryview(buffer).cast("B"), 0
    while done < len(view):
        try:
            count = file.readinto(view[done:])  # pyright: ignore[reportAttributeAccessIssue]
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
