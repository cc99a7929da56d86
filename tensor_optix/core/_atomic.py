"""Files that are either wholly there or not: write, fsync, rename; checksums; the kernel lock.

The lock is the one thing in the core that is neither numpy nor the standard library: `filelock` wraps the kernel's lock
on every platform, and a lock of our own would be wrong on most of them.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from tensor_optix.core._reading import read_plain
from tensor_optix.core._schemas import decode_object
from tensor_optix.errors import CheckpointCorruptError, CheckpointLockedError, CheckpointStorageError

MAX_JSON_BYTES = 4 << 20


@contextlib.contextmanager
def storage_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `CheckpointStorageError` that says what failed and where."""
    try:
        yield
    except CheckpointStorageError:
        raise
    except OSError as error:
        raise CheckpointStorageError(
            f"Could not {what} {str(path)!r}: {error.strerror or error}. Check that the path is a writable directory "
            f"with free space, or choose another checkpoint_dir."
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Create `path` (it must not exist) with `data`, and return when it has reached the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes, temporary_in: Path | None = None) -> None:
    """Put `data` in place of whatever `path` holds; a reader sees the old content or the new, never a mixture.

    The new content is first written to a temporary file in `temporary_in` (None: beside `path`).
    """
    temporary = (temporary_in or path.parent) / f".tmp-{path.name}"
    temporary.unlink(missing_ok=True)
    write_file(temporary, data)
    os.replace(temporary, path)
    fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Return when the names in `path` have reached the disk."""
    if os.name != "posix":  # directories cannot be opened for this elsewhere
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(path: Path) -> None:
    """Return when every file and directory below `path` has reached the disk."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            descriptor = os.open(Path(folder, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        fsync_directory(Path(folder))


def tree_checksums(path: Path) -> dict[str, dict[str, Any]]:
    """Return `{relative posix path: {"bytes": length, "sha256": hex}}` for every file below `path`."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise CheckpointCorruptError(f"{str(file)!r} is neither a plain file nor a folder; refusing to read it.")
        if file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[file.relative_to(path).as_posix()] = {"bytes": file.stat().st_size, "sha256": digest}
    return found


def encode_json(data: Mapping[str, Any]) -> bytes:
    """Encode strict JSON (no NaN), keys in order, one trailing newline."""
    return (json.dumps(data, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path, max_bytes: int | None = None) -> dict[str, Any]:
    """Read a JSON object of at most `max_bytes` (None: `MAX_JSON_BYTES`).

    Raises:
        CheckpointCorruptError: absent, too large, not JSON, or not an object.
    """
    data = read_plain(path, MAX_JSON_BYTES if max_bytes is None else max_bytes)
    return decode_object(data, repr(str(path)))


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

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._held:
            self._held = False
            self._lock.release()
