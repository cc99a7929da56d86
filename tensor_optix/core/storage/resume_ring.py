"""The newest few complete states of a run, from which an interrupted run is resumed.

checkpoint_dir/
    resume_<sequence>/{metadata.json, state.json, whatever the caller wrote}
    resume_attempts.json        how often the process ended while it was resuming from one of them
"""

import contextlib
import json
import logging
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.storage.durable_folder import DurableFolders, is_damage
from tensor_optix.core.storage.metadata import FOLDER_FORMAT
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    CheckpointLockedError,
    CheckpointStorageError,
    InvalidArgumentError,
)
from tensor_optix.support.plain import SavedState

logger = logging.getLogger(__name__)

PREFIX = "resume_"
ATTEMPTS = "resume_attempts.json"
STATE = "state.json"
MAX_STATE_BYTES = 64 << 20
MAX_STARTS = 3
"""Starts from a state in which the process may end before it is passed over."""


@dataclass(frozen=True)
class ResumePoint:
    """A verified state of a run."""

    sequence: int
    """Order of saving in its directory, from 0."""
    folder: Path
    state: SavedState


class ResumeRing:
    """The newest `size` states of a run. What `save` has returned is safe.

    The directory's lock is taken for the length of each call; one that this process holds already is shared.

    Args:
        directory: the run's; created at the first save.
        size: how many states are kept; with two, one is intact whatever happens to the other.

    Raises:
        InvalidArgumentError: `size` below 1.
    """

    def __init__(self, directory: Path, size: int = 2) -> None:
        if size < 1:
            raise InvalidArgumentError(f"size must be at least 1, but got {size!r}.")
        self.directory = Path(directory).absolute()
        self.size = size
        self._folders = DurableFolders(self.directory, PREFIX)
        self._lock = atomic.DirectoryLock(self.directory)
        self.given_up: tuple[str, ...] = ()
        """Folders of intact states that the last `newest` passed over: starts from them were broken off too often."""

    def save(self, write: Callable[[Path], None], state: Mapping[str, object]) -> int:
        """Save a state, and return its sequence number when it is on disk; then delete the oldest beyond `size`.

        Args:
            write: puts files (an agent's training state) into the folder that it is given.
            state: plain JSON values.

        Raises:
            BadDataError: `state` holds a value that JSON cannot express.
            CheckpointLockedError: another process writes to the directory.
            CheckpointStorageError: it could not be saved; the earlier states are untouched, and nothing of it remains.
        """
        encoded = _encoded(state)
        with atomic.storage_errors("save a resume point in", self.directory):
            atomic.make_directory(self.directory)
            with self._locked():
                staged = self._folders.stage()
                try:
                    write(staged)
                    atomic.write_file(staged / STATE, encoded, sync=False)
                except BaseException:
                    tree.try_remove(staged)
                    raise
                sequence = self._folders.next_sequence()
                self._folders.seal(staged, sequence, {})
                self._drop_surplus()
        return sequence

    def newest(self) -> ResumePoint | None:
        """Return the newest intact state that may be tried, None where there is none.

        A damaged state is quarantined; without the right to write (another process has the lock) it is only skipped.
        An intact one stays where it is, but is passed over after three starts in which the process ended: it may have
        been killed each time, and a state that crashes the process must not do so for ever.

        Raises:
            CheckpointStorageError: the directory cannot be read.
        """
        with atomic.storage_errors("read a resume point in", self.directory), contextlib.ExitStack() as stack:
            if not self.directory.is_dir():
                return None
            try:
                stack.enter_context(self._locked())
                may_write = True
            except (CheckpointLockedError, CheckpointStorageError) as error:
                logger.info("Reading resume points without the lock: %s", error)
                may_write = False
            self.given_up = ()
            for sequence in reversed(self._folders.sequences()):
                try:
                    point = self._point(sequence)
                    if self._starts().get(sequence, 0) < MAX_STARTS:
                        return point
                    self.given_up += (point.folder.name,)
                    logger.warning(
                        "%s is passed over: %d starts from it were broken off.", *self.given_up[-1:], MAX_STARTS
                    )
                except CheckpointCorruptError as error:
                    if may_write and is_damage(error):
                        self._folders.quarantine(sequence, error)
                    else:
                        logger.warning("Resume point %d is not used: %s", sequence, error)
        return None

    @property
    def was_used(self) -> bool:
        """True where a state was ever saved here, even if it is in quarantine by now."""
        with atomic.storage_errors("list", self.directory):
            return self._folders.next_sequence() > 0

    def begin(self, point: ResumePoint) -> None:
        """Note on disk that a start from `point` is tried: after three without `survived` it is passed over."""
        with atomic.storage_errors("note a start in", self.directory), self._locked():
            starts = self._starts()
            self._write_starts({**starts, point.sequence: starts.get(point.sequence, 0) + 1})

    def survived(self, point: ResumePoint) -> None:
        """Forget the starts from `point` and from older ones: the process has come through.

        Newer ones stay passed over: what belongs to them beside the ring, the history above all, is gone by now.
        """
        with atomic.storage_errors("note a start in", self.directory), self._locked():
            self._write_starts({number: count for number, count in self._starts().items() if number > point.sequence})

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        if self._lock.acquire():
            # No one in this process has written here: unfinished writes are those of a process that died.
            self._folders.clean()
        try:
            yield
        finally:
            self._lock.release()

    def _point(self, sequence: int) -> ResumePoint:
        files = self._folders.verify(sequence)["files"]
        if STATE not in files:
            raise CheckpointCorruptError(f"it holds no {STATE}.")
        folder = self._folders.folder(sequence)
        return ResumePoint(sequence, folder, atomic.read_json(folder / STATE, MAX_STATE_BYTES))

    def _starts(self) -> dict[int, int]:
        """Return how many starts from each state were noted, by its number."""
        path = self.directory / ATTEMPTS
        if not path.exists():
            return {}
        try:
            noted = atomic.read_json(path)
            counts = noted["counts"] if "counts" in noted else {noted["sequence"]: noted["count"]}  # of version 0.9
            return {int(number): int(count) for number, count in counts.items()}
        except (CheckpointCorruptError, AttributeError, KeyError, TypeError, ValueError) as error:
            logger.warning("%r is damaged and is ignored: %s", str(path), error)
            return {}

    def _write_starts(self, starts: Mapping[int, int]) -> None:
        kept = {str(number): starts[number] for number in self._folders.sequences() if starts.get(number)}
        if kept:
            noted = {"format": FOLDER_FORMAT, "counts": kept}
            atomic.replace_file(self.directory / ATTEMPTS, atomic.encode_json(noted))
        else:
            atomic.remove_file(self.directory / ATTEMPTS)

    def _drop_surplus(self) -> None:
        surplus = self._folders.sequences()[: -self.size]
        try:
            self._folders.remove(surplus, sync=False)
        except OSError as error:
            # The new state is on disk; the next save tries again.
            logger.warning("Old resume points in %r could not be deleted: %s", str(self.directory), error)


def is_point(name: str) -> bool:
    """Return whether a folder with this name is a resume point."""
    return re.fullmatch(PREFIX + "[0-9]{6,12}", name) is not None


def _encoded(state: Mapping[str, object]) -> bytes:
    try:
        encoded = json.dumps(dict(state), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadDataError(f"The state of a run must be plain JSON values, but {error}.") from error
    if len(encoded) > MAX_STATE_BYTES:
        raise BadDataError(
            f"The state of a run takes {len(encoded)} bytes of JSON, more than the {MAX_STATE_BYTES} that are read; "
            f"write large values to a file."
        )
    return encoded
