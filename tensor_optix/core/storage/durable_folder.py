"""Folders of files that are written atomically and verify themselves.

    <directory>/<prefix><sequence>/         the files, and metadata.json: format, sequence number, length and SHA-256 of
                                            each file, what the owner adds, the signature of all this where
                                            there is a key, and the hash of it all
    <directory>/.tmp-<prefix>...            being written
    <directory>/.trash-<prefix>...          being deleted
    <directory>/quarantine/<n>-<name>       damaged folders; the newest of them are kept for inspection

| step of a save | what a power cut after it leaves |
|---|---|
| files are written to a `.tmp-` folder, `metadata.json` last | litter, cleared at the next opening |
| each file is synced, then the folder | litter |
| the folder is renamed | litter or the whole |
| the directory is synced; only now is it said to be saved | the whole |

The listing of the directory is the truth, sequence numbers are the order, and no clock is asked.
"""

import contextlib
import errno
import itertools
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensor_optix._visible import in_line
from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.storage.metadata import METADATA, ForeignFormatError, metadata_in, sealed
from tensor_optix.errors import CheckpointCorruptError, CheckpointUnsafeError
from tensor_optix.support.open_files import advice
from tensor_optix.support.plain import SavedState

logger = logging.getLogger(__name__)

QUARANTINE = "quarantine"
QUARANTINE_SIZE = 10
LOOKS = 10
"""How often a reader lists again when folders were deleted meanwhile."""
_MAX_SEQUENCE = 10**11
_STAGED = itertools.count()
_OF_A_RUN = re.compile(
    r"\.(tmp|trash)-[a-z]+_[0-9]+(-[0-9]+)?|\.tmp-(manifest|metadata|report|resume_attempts|run)\.json"
)
"""Names of a run's temporary files and folders; any other name is not ours."""
# Errors that say nothing about the folder: too many open files, no right to read, no memory.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EINTR, errno.EAGAIN)


class DurableFolders:
    """The folders of one kind in a directory, e.g. all its snapshots.

    Methods that write need the directory's lock (`DirectoryLock`), and raise `OSError` where the storage fails.

    Args:
        directory: where they are.
        prefix: what their names begin with.
    """

    def __init__(self, directory: Path, prefix: str) -> None:
        self.directory = directory
        self.prefix = prefix

    def folder(self, sequence: int) -> Path:
        """Return the path of the folder with this number, whether or not it is there."""
        return self.directory / self._name(sequence)

    def sequences(self) -> list[int]:
        """Return the numbers of the existing folders, in order; links and other names are left out."""
        found: list[int] = []
        for _ in range(LOOKS):
            numbered = [(name, self._number(name)) for name in _names_in(self.directory)]
            listed = [number for name, number in numbered if number is not None and name == self._name(number)]
            found = sorted(number for number in listed if tree.is_folder(self.folder(number)))
            if len(found) == len(listed) or not any(tree.is_gone(self.folder(number)) for number in listed):
                break
            # Another process deleted some while this one looked, perhaps after it had saved one not yet listed here.
        return found

    def next_sequence(self) -> int:
        """Return a number above all existing ones, here and in quarantine."""
        # Any entry of that name counts, folder or not: a new folder must not collide with it.
        names = _names_in(self.directory) + [path.name.partition("-")[2] for path in self._quarantined()]
        return max((number for name in names if (number := self._number(name)) is not None), default=-1) + 1

    def stage(self) -> Path:
        """Make a temporary folder to write files to, which `seal` turns into a final one."""
        while True:
            staged = self.directory / f".tmp-{self.prefix}{os.getpid()}-{next(_STAGED)}"
            with contextlib.suppress(FileExistsError):  # of an earlier process with this number
                staged.mkdir(mode=0o700)
                return staged

    def seal(
        self, staged: Path, sequence: int, content: Mapping[str, object], files: tree.Checksums | None = None
    ) -> Path:
        """Make a staged folder the one with this number; on return it is on disk. Where that fails, nothing remains.

        Args:
            staged: what `stage` returned, with files in it.
            sequence: its number.
            content: further metadata, plain JSON.
            files: what `checksums(staged)` returned, if it has been called.
        """
        target = self.folder(sequence)
        try:
            files = tree.checksums(staged) if files is None else files
            # All are written before any is synced: the file system then has fewer transactions to wait for.
            atomic.write_file(staged / METADATA, sealed(sequence, content, files), sync=False)
            tree.sync(staged)
            os.rename(staged, target)
            staged = target
            atomic.fsync_directory(self.directory)
        except BaseException:
            if staged is target:
                # A folder that may not be on disk must not be found: the caller is told that it was not saved.
                self._try_remove(sequence)
            tree.try_remove(staged)
            raise
        return target

    def rewrite(self, sequence: int, content: Mapping[str, object], files: Mapping[str, object]) -> None:
        """Replace the further metadata of a folder; on return they are on disk."""
        # The temporary file stays out of the folder, where a crash would leave it as a foreign file.
        atomic.replace_file(
            self.folder(sequence) / METADATA, sealed(sequence, content, files), temporary_in=self.directory
        )

    def read(self, sequence: int) -> SavedState:
        """Return the metadata of a folder, verified.

        Raises:
            CheckpointCorruptError: absent or damaged.
            CheckpointUnsignedError: the user has a key, and it was not signed with that.
        """
        folder = self.folder(sequence)
        try:
            is_ours = tree.is_folder(folder)
        except OSError as error:
            raise _unreadable(folder, error) from error
        if not is_ours:
            raise CheckpointCorruptError(f"{str(folder)!r} is no folder, or a link to one.")
        return metadata_in(folder, sequence)

    def verify(self, sequence: int, *, max_bytes: int | None = None) -> SavedState:
        """Return the metadata of a folder when its files are those that were saved.

        Args:
            sequence: its number.
            max_bytes: above this total, only names and lengths are compared.

        Raises:
            CheckpointCorruptError: absent or damaged.
        """
        metadata, folder = self.read(sequence), self.folder(sequence)
        recorded = metadata["files"]
        contents = max_bytes is None or bytes_in(metadata) <= max_bytes
        try:
            found = tree.checksums(folder, recorded, contents=contents)
        except OSError as error:
            raise _unreadable(folder, error) from error
        found.pop(METADATA, None)
        if not contents:
            recorded = {name: {"bytes": sums["bytes"]} for name, sums in recorded.items()}
        if found != recorded:
            changed = sorted(name for name in found.keys() | recorded.keys() if found.get(name) != recorded.get(name))
            raise CheckpointCorruptError(
                f"{folder.name} in {str(self.directory)!r} is damaged: {in_line(', '.join(changed))} missing, changed "
                f"or added since it was saved."
            )
        return metadata

    def remove(self, sequences: Iterable[int], *, sync: bool = True) -> None:
        """Delete folders: each is complete or no longer listed, whenever the process ends.

        Args:
            sequences: their numbers.
            sync: True: also whenever the power fails. False: for folders that nobody reads again.
        """
        for sequence in sequences:
            trash = self.directory / f".trash-{self.folder(sequence).name}"
            tree.remove(trash)
            os.rename(self.folder(sequence), trash)
        if sync:
            # The new names first: a power cut must not restore the old name of a folder whose contents are deleted.
            atomic.fsync_directory(self.directory)
        for trash in self._litter(".trash-", self.prefix):
            tree.remove(trash)

    def quarantine(self, sequence: int, reason: object) -> None:
        """Move a folder to quarantine, log why, and delete the oldest there if there are too many.

        Where the storage refuses, that is logged: the folder is unusable, but does no harm where it is.

        Raises:
            CheckpointUnsafeError: the quarantine is a link.
        """
        target = self.directory / QUARANTINE
        if target.is_symlink():
            raise CheckpointUnsafeError(f"{str(target)!r} is a link; nothing is moved through it. Remove the link.")
        try:
            self._move_to(target, sequence, reason)
        except OSError as error:
            logger.warning("%s is not used: %s It could not be moved: %s", self.folder(sequence).name, reason, error)

    def clean(self, *, everything: bool = False) -> None:
        """Delete what an interrupted write or deletion left, as far as the storage allows.

        Args:
            everything: also litter of other kinds of folders.
        """
        for kind in (".tmp-", ".trash-"):
            for litter in self._litter(kind, "" if everything else self.prefix):
                tree.try_remove(litter)

    def _move_to(self, target: Path, sequence: int, reason: object) -> None:
        atomic.make_directory(target)
        others = self._quarantined()
        number = int(others[-1].name.partition("-")[0]) + 1 if others else 0
        moved = target / f"{number:06d}-{self.folder(sequence).name}"
        os.rename(self.folder(sequence), moved)
        atomic.fsync_directory(target)
        atomic.fsync_directory(self.directory)
        logger.warning("%s was moved to %r: %s", self.folder(sequence).name, str(moved), reason)
        for surplus in others[: max(0, len(others) + 1 - QUARANTINE_SIZE)]:
            tree.try_remove(surplus)

    def _name(self, sequence: int) -> str:
        return f"{self.prefix}{sequence:06d}"

    def _number(self, name: str) -> int | None:
        if not name.startswith(self.prefix):
            return None
        digits = name[len(self.prefix) :]
        # A number above the limit was not counted by us, and the next one would not fit its name.
        is_one = re.fullmatch(r"[0-9]{1,12}", digits) and int(digits) < _MAX_SEQUENCE
        return int(digits) if is_one else None

    def _litter(self, kind: str, prefix: str) -> list[Path]:
        ours = (name for name in _names_in(self.directory) if name.startswith(f"{kind}{prefix}"))
        return [self.directory / name for name in ours if _OF_A_RUN.fullmatch(name)]

    def _quarantined(self) -> list[Path]:
        folder = self.directory / QUARANTINE
        names = _names_in(folder) if tree.is_folder(folder) else []
        return sorted(folder / name for name in names if re.fullmatch(r"[0-9]{6,}-[a-z]+_[0-9]{6,}", name))

    def _try_remove(self, sequence: int) -> None:
        with contextlib.suppress(OSError):
            os.rename(self.folder(sequence), trash := self.directory / f".trash-{self.folder(sequence).name}")
            tree.try_remove(trash)


def bytes_in(metadata: SavedState) -> int:
    """Return the total length of the files that a folder's metadata list."""
    return sum(sums["bytes"] for sums in metadata["files"].values())


def _unreadable(folder: Path, error: OSError) -> CheckpointCorruptError:
    return CheckpointCorruptError(f"{str(folder)!r} cannot be read: {error}. {advice(error)}".rstrip())


def is_damage(error: CheckpointCorruptError) -> bool:
    """Return whether `error` tells of damage, not of a later version's format or of trouble that will pass."""
    cause = error.__cause__
    return not isinstance(error, ForeignFormatError) and not (isinstance(cause, OSError) and cause.errno in _PASSING)


def _names_in(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
