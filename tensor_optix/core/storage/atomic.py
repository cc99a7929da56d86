"""Files that are either wholly there or not: write, fsync, rename; strict JSON; the kernel lock.

The lock is the one thing in the core that is neither numpy nor the standard library: `filelock` wraps the kernel's lock
on every platform, and a lock of our own would be wrong on most of them.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Generator, Mapping
from pathlib import Path

import filelock
import msgspec

from tensor_optix.core.storage.reading import BINARY, NO_FOLLOW, read_plain
from tensor_optix.errors import (
    CheckpointLockedError,
    CheckpointPathError,
    CheckpointStorageError,
    CheckpointUnsafeError,
)
from tensor_optix.support.open_files import advice
from tensor_optix.support.plain import SavedState
from tensor_optix.support.schemas import decode_object

MAX_JSON_BYTES = 4 << 20
_CHECK_PATH = "Check that the path is a writable directory with free space, or choose another checkpoint_dir."


@contextlib.contextmanager
def storage_errors(what: str, path: Path) -> Generator[None]:
    """Turn an `OSError` into a `CheckpointStorageError` that says what failed and where."""
    try:
        yield
    except (CheckpointStorageError, CheckpointPathError):
        raise
    except OSError as error:
        remedy = advice(error, _CHECK_PATH)
        failed = CheckpointStorageError(f"Could not {what} {str(path)!r}: {error.strerror or error}. {remedy}")
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
    path.unlink(missing_ok=True)
    fsync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Create a directory for this user alone, with those above it that are missing; return when they are on disk.

    A directory that may not be on disk is removed again, so that the next call does not take it for durable.
    """
    missing: list[Path] = []
    while path != path.parent and not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            fsync_directory(folder.parent)
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise


def check_private(directory: Path) -> None:
    """Refuse a directory that others could plant files in.

    Raises:
        CheckpointUnsafeError: another user owns it, or its group or everybody may write to it.
    """
    if os.name != "posix":
        return
    found = directory.stat()
    advice = (
        "whoever may write there could change what is learned. Choose another checkpoint_dir, or allow it with "
        "CheckpointRegistry(..., allow_shared_directory=True) or TENSOR_OPTIX_ALLOW_SHARED_DIRECTORY=1."
    )
    if found.st_uid != os.geteuid():
        raise CheckpointUnsafeError(f"{str(directory)!r} belongs to user {found.st_uid}, not {os.geteuid()}: {advice}")
    if found.st_mode & 0o022:
        raise CheckpointUnsafeError(
            f"{str(directory)!r} may be written by others (mode {found.st_mode & 0o7777:04o}; chmod go-w fixes that): "
            f"{advice}"
        )


def fsync_directory(path: Path) -> None:
    """Return when the names in `path` have reached the disk."""
    if os.name != "posix":  # directories cannot be opened for this elsewhere
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def encode_json(data: Mapping[str, object]) -> bytes:
    """Encode strict JSON (no NaN), keys in order, one trailing newline.

    It is `json.dumps(data, sort_keys=True, indent=1)` byte for byte, in a quarter of its time.
    """
    return msgspec.json.format(json.dumps(data, sort_keys=True, allow_nan=False).encode(), indent=1) + b"\n"


def read_json(path: Path, max_bytes: int | None = None) -> SavedState:
    """Read a JSON object of at most `max_bytes` (None: `MAX_JSON_BYTES`).

    Raises:
        CheckpointCorruptError: absent, too large, not JSON, or not an object.
    """
    data = read_plain(path, MAX_JSON_BYTES if max_bytes is None else max_bytes)
    return decode_object(data, repr(str(path)))


def digest_of(data: Mapping[str, object]) -> str:
    """Return the SHA-256 of `data` as `encode_json` writes it."""
    return hashlib.sha256(encode_json(data)).hexdigest()


_RUNS: set[tuple[int, Path]] = set()
_RUNS_LOCK = threading.Lock()


@contextlib.contextmanager
def sole_run(directory: Path) -> Generator[None]:
    """Refuse a second run of this process in a directory: within a process the `DirectoryLock` is shared.

    Raises:
        CheckpointLockedError: another run of this process uses it.
    """
    run = (os.getpid(), directory.resolve())  # a fork of this process has runs of its own
    with _RUNS_LOCK:
        if run in _RUNS:
            raise CheckpointLockedError(
                f"{str(directory)!r} is in use by another run of this process. Wait for it to end, or choose another "
                f"checkpoint_dir."
            )
        _RUNS.add(run)
    try:
        yield
    finally:
        _RUNS.discard(run)


class DirectoryLock:
    """The right to write to a directory, held by one process; the kernel releases it however the process ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock, self._made_in = self._new_lock(), os.getpid()
        self._holder: int | None = None

    def acquire(self) -> bool:
        """Take the lock, and return True if this process did not hold it before; harmless if it did.

        Raises:
            CheckpointLockedError: another process holds it.
            CheckpointStorageError: the lock file cannot be created.
        """
        if self.is_held:
            return False
        if self._made_in != os.getpid():
            self._lock, self._made_in = self._new_lock(), os.getpid()  # a lock of the process that this one forked from
        is_first = not self._lock.is_locked
        with storage_errors("lock", self._directory):
            try:
                self._lock.acquire(blocking=False)
            except filelock.Timeout:
                raise CheckpointLockedError(
                    f"{str(self._directory)!r} is in use by another process. Wait for it to end, or choose another "
                    f"checkpoint_dir; the lock goes with the process, there is no stale one to delete."
                ) from None
        self._holder = os.getpid()
        return is_first

    @property
    def is_held(self) -> bool:
        """True between `acquire` and `release`, but not in a fork of the process that did so."""
        return self._holder == os.getpid()

    def release(self) -> None:
        """Release the lock; harmless if it is not held."""
        if self.is_held:
            self._holder = None
            self._lock.release()

    def _new_lock(self) -> filelock.BaseFileLock:
        # A singleton per path: two registries of one process on one directory share the lock.
        return filelock.FileLock(self._directory / ".lock", is_singleton=True, thread_local=False)
