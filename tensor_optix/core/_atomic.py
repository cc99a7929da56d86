"""Files that are either wholly there or not: write, fsync, rename; strict JSON; the kernel lock.

The lock is the one thing in the core that is neither numpy nor the standard library: `filelock` wraps the kernel's lock
on every platform, and a lock of our own would be wrong on most of them.
"""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from tensor_optix.errors import CheckpointCorruptError, CheckpointLockedError, CheckpointStorageError

MAX_JSON_BYTES = 4 << 20
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def storage_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `CheckpointStorageError` that says what failed and where."""
    try:
        yield
    except CheckpointStorageError:
        raise
    except OSError as error:
        failed = CheckpointStorageError(
            f"Could not {what} {str(path)!r}: {error.strerror or error}. Check that the path is a writable directory "
            f"with free space, or choose another checkpoint_dir."
        )
        failed.errno = error.errno
        raise failed from error


def write_file(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Create `path` (it must not exist) with `data`, and return when it has reached the disk.

    Where that fails, nothing is left: after a failed fsync the kernel may hold the pages for clean, so that a second
    one on the same file could succeed without a byte being written.

    Args:
        path: what to create; a link of that name is not followed.
        data: the content.
        sync: False leaves it to a later fsync.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | BINARY, 0o600)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def replace_file(path: Path, data: bytes, temporary_in: Path | None = None) -> None:
    """Put `data` in place of whatever `path` holds; a reader sees the old content or the new, never a mixture.

    The new content is first written to a temporary file in `temporary_in` (None: beside `path`).
    """
    temporary = (temporary_in or path.parent) / f".tmp-{path.name}"
    temporary.unlink(missing_ok=True)
    write_file(temporary, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    fsync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Delete `path` if it is there, and return when that has reached the disk."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        fsync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Create a directory for this user alone, with those above it that are missing; return when they are on disk."""
    missing = []
    while path != path.parent and not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        fsync_directory(folder.parent)


def fsync_directory(path: Path) -> None:
    """Return when the names in `path` have reached the disk."""
    if os.name != "posix":  # directories cannot be opened for this elsewhere
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_plain(path: str | Path, dir_fd: int | None = None, *, flags: int = os.O_RDONLY) -> int:
    """Open a file for reading, and return its descriptor.

    A link is not followed, a pipe not waited for, and a file that has a second name (a hard link, through which others
    could change it) is refused.

    Raises:
        CheckpointCorruptError: it is no such file.
    """
    descriptor = os.open(path, flags | NO_FOLLOW | BINARY | getattr(os, "O_NONBLOCK", 0), dir_fd=dir_fd)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise CheckpointCorruptError(
        f"{str(path)!r} is neither a plain file nor a folder, or has {found.st_nlink} names; refusing to read it."
    )


def encode_json(data: Mapping[str, Any]) -> bytes:
    """Encode strict JSON (no NaN), keys in order, one trailing newline."""
    return (json.dumps(data, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path, max_bytes: int | None = None) -> dict[str, Any]:
    """Read a JSON object of at most `max_bytes` (None: `MAX_JSON_BYTES`).

    Raises:
        CheckpointCorruptError: absent, too large, not JSON, or not an object.
    """
    max_bytes = MAX_JSON_BYTES if max_bytes is None else max_bytes
    try:
        data = json.loads(_read_plain(path, max_bytes), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointCorruptError(f"{str(path)!r} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise CheckpointCorruptError(f"{str(path)!r} must hold a JSON object, but holds a {type(data).__name__}.")
    return data


def _read_plain(path: Path, max_bytes: int) -> bytes:
    with os.fdopen(open_plain(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise CheckpointCorruptError(f"{str(path)!r} is larger than {max_bytes} bytes.")
        return file.read(max_bytes)


def digest_of(data: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `data` as `encode_json` writes it."""
    return hashlib.sha256(encode_json(data)).hexdigest()


class DirectoryLock:
    """The right to write to a directory, held by one process; the kernel gives it back however the process ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # A singleton per path: two registries of one process on one directory share the lock.
        self._lock = filelock.FileLock(directory / ".lock", is_singleton=True, thread_local=False)
        self._held = False

    def acquire(self) -> bool:
        """Take the lock, and return True if this process did not hold it before; harmless if it did.

        Raises:
            CheckpointLockedError: another process holds it.
            CheckpointStorageError: the lock file cannot be created.
        """
        if self._held:
            return False
        is_first = not self._lock.is_locked
        with storage_errors("lock", self._directory):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise CheckpointLockedError(
                    f"{str(self._directory)!r} is in use by another process. Wait for it to end, or choose another "
                    f"checkpoint_dir; the lock goes with the process, there is no stale one to delete."
                ) from None
        self._held = True
        return is_first

    @property
    def is_held(self) -> bool:
        """True between `acquire` and `release`."""
        return self._held

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._held:
            self._held = False
            self._lock.release()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
