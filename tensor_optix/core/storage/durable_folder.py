"""Folders of files that are wholly there or not at all, and that verify themselves.

    <directory>/<prefix><sequence>/         the files, and metadata.json: format, sequence number, length and SHA-256 of
                                            each file, what the owner adds, the signature of all this where
                                            there is a key, and the hash of it all
    <directory>/.tmp-<prefix>...            being written
    <directory>/.trash-<prefix>...          being deleted
    <directory>/quarantine/<n>-<name>       found damaged; the newest of them are kept for a look

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
from typing import Any

from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.storage.signing import SIGNATURE, check_signature, signed
from tensor_optix.errors import CheckpointCorruptError, CheckpointUnsafeError
from tensor_optix.support.schemas import decode_object

logger = logging.getLogger(__name__)

FORMAT = 1
METADATA = "metadata.json"
QUARANTINE = "quarantine"
QUARANTINE_SIZE = 10
LOOKS = 10
"""How often a reader looks again when folders were deleted under its eyes."""
_MAX_SEQUENCE = 10**11
_STAGED = itertools.count()
_OF_A_RUN = re.compile(
    r"\.(tmp|trash)-[a-z]+_[0-9]+(-[0-9]+)?|\.tmp-(manifest|metadata|report|resume_attempts|run)\.json"
)
"""What a run calls that which it writes or deletes; any other name is somebody else's."""
# What says nothing about the folder: too many open files, no right to read, no memory.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EINTR, errno.EAGAIN)


class ForeignFormatError(CheckpointCorruptError):
    """Written by a later version of this library: of no use here, but not damaged."""


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
        return self.directory / f"{self.prefix}{sequence:06d}"

    def sequences(self) -> list[int]:
        """Return the numbers of the folders that are there, in order; links and other names are none of ours."""
        found: list[int] = []
        for _ in range(LOOKS):
            numbered = ((name, self._number(name)) for name in _names_in(self.directory))
            listed = [number for name, number in numbered if number is not None and name == self.folder(number).name]
            found = sorted(number for number in listed if tree.is_folder(self.folder(number)))
            if not any(tree.is_gone(self.folder(number)) for number in listed):
                break
            # Another process deleted some while this one looked, perhaps after it had saved one not yet listed here.
        return found

    def next_sequence(self) -> int:
        """Return a number above all that were given and are still to be seen, here or in quarantine."""
        # Whatever has the name, be it a folder of ours or not: a new one must not collide with it.
        names = _names_in(self.directory) + [path.name.partition("-")[2] for path in self._quarantined()]
        return max((number for name in names if (number := self._number(name)) is not None), default=-1) + 1

    def stage(self) -> Path:
        """Make a temporary folder to write files to, which `seal` then turns into one that is there."""
        while True:
            staged = self.directory / f".tmp-{self.prefix}{os.getpid()}-{next(_STAGED)}"
            with contextlib.suppress(FileExistsError):  # of an earlier process with this number
                staged.mkdir(mode=0o700)
                return staged

    def seal(
        self, staged: Path, sequence: int, content: Mapping[str, Any], files: tree.Checksums | None = None
    ) -> Path:
        """Make a staged folder the one with this number; on return it is on disk. Where that fails, nothing is left.

        Args:
            staged: what `stage` returned, with files in it.
            sequence: its number.
            content: what its metadata say besides, plain JSON.
            files: what `checksums(staged)` returned, if it has been called.
        """
        target = self.folder(sequence)
        try:
            files = tree.checksums(staged) if files is None else files
            # All are written before any is synced: the file system then has fewer transactions to wait for.
            atomic.write_file(staged / METADATA, _sealed(sequence, content, files), sync=False)
            tree.sync(staged)
            os.rename(staged, target)
            staged = target
            atomic.fsync_directory(self.directory)
        except BaseException:
            if staged is target:
                # What may not be on disk must not be found either: the caller is told that it was not saved.
                self._try_remove(sequence)
            tree.try_remove(staged)
            raise
        return target

    def rewrite(self, sequence: int, content: Mapping[str, Any], files: Mapping[str, Any]) -> None:
        """Replace what the metadata of a folder say besides; on return it is on disk."""
        # The temporary file stays out of the folder, where a crash would leave it as a foreign file.
        atomic.replace_file(
            self.folder(sequence) / METADATA, _sealed(sequence, content, files), temporary_in=self.directory
        )

    def read(self, sequence: int) -> dict[str, Any]:
        """Return the metadata of a folder, verified.

        Raises:
            CheckpointCorruptError: absent or damaged.
            CheckpointUnsignedError: the user has a key, and it was not signed with that.
        """
        folder = self.folder(sequence)
        try:
            is_ours = tree.is_folder(folder)
        except OSError as error:
            raise CheckpointCorruptError(f"{str(folder)!r} cannot be read: {error}.") from error
        if not is_ours:
            raise CheckpointCorruptError(f"{str(folder)!r} is no folder, or a link to one.")
        data = atomic.read_plain(folder / METADATA, atomic.MAX_JSON_BYTES)
        metadata = decode_object(data, repr(str(folder / METADATA)))
        if (written := metadata.get("format")) != FORMAT:
            is_later = isinstance(written, int) and written > FORMAT
            kind = ForeignFormatError if is_later else CheckpointCorruptError
            raise kind(f"its format is {written!r}, this version reads {FORMAT}.")
        _check_unchanged(data, metadata)
        del metadata["sha256"]
        signature = metadata.pop(SIGNATURE, None)
        check_signature(signature, atomic.encode_json(metadata), repr(str(folder)))
        if metadata.get("sequence") != sequence:
            raise CheckpointCorruptError(f"its metadata.json belongs to number {metadata.get('sequence')!r}.")
        if not _are_checksums(metadata.get("files")):
            raise CheckpointCorruptError("its metadata.json does not list the files as it should.")
        return metadata

    def verify(self, sequence: int, *, max_bytes: int | None = None) -> dict[str, Any]:
        """Return the metadata of a folder when its files are those that were saved.

        Args:
            sequence: its number.
            max_bytes: of files that are longer together, only names and lengths are compared.

        Raises:
            CheckpointCorruptError: absent or damaged.
        """
        metadata, folder = self.read(sequence), self.folder(sequence)
        recorded = metadata["files"]
        contents = max_bytes is None or bytes_in(metadata) <= max_bytes
        try:
            found = tree.checksums(folder, recorded, contents=contents)
        except OSError as error:
            raise CheckpointCorruptError(f"{str(folder)!r} cannot be read: {error}.") from error
        found.pop(METADATA, None)
        if not contents:
            recorded = {name: {"bytes": sums["bytes"]} for name, sums in recorded.items()}
        if found != recorded:
            changed = sorted(name for name in found.keys() | recorded.keys() if found.get(name) != recorded.get(name))
            raise CheckpointCorruptError(
                f"{folder.name} in {str(self.directory)!r} is damaged: {', '.join(changed)} missing, changed or added "
                f"since it was saved."
            )
        return metadata

    def remove(self, sequences: Iterable[int], *, sync: bool = True) -> None:
        """Delete folders: each is either wholly there or no longer listed, whenever the process ends.

        Args:
            sequences: their numbers.
            sync: True says the same of the power; False is for folders that nobody will ask for again.
        """
        for sequence in sequences:
            trash = self.directory / f".trash-{self.folder(sequence).name}"
            tree.remove(trash)
            os.rename(self.folder(sequence), trash)
        if sync:
            # The new names first: contents must not go from a folder that a power cut would give its old name back.
            atomic.fsync_directory(self.directory)
        for trash in self._litter(".trash-", self.prefix):
            tree.remove(trash)

    def quarantine(self, sequence: int, reason: object) -> None:
        """Move a folder out of the way, say why, and delete the oldest in quarantine if there are too many.

        Where the storage does not let it, that is reported: the folder is of no use, but does no harm where it is.

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
        """Clear away what an interrupted write or deletion left, as far as the storage lets it.

        Args:
            everything: not only what was to be, or had been, a folder of this kind.
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

    def _number(self, name: str) -> int | None:
        digits = name.removeprefix(self.prefix)
        # Above the limit it was nobody's honest count, and the next one would no longer fit its name.
        is_one = name.startswith(self.prefix) and re.fullmatch(r"[0-9]{1,12}", digits) and int(digits) < _MAX_SEQUENCE
        return int(digits) if is_one else None

    def _litter(self, kind: str, prefix: str) -> list[Path]:
        ours = filter(_OF_A_RUN.fullmatch, _names_in(self.directory))
        return [self.directory / name for name in ours if name.startswith(f"{kind}{prefix}")]

    def _quarantined(self) -> list[Path]:
        folder = self.directory / QUARANTINE
        names = _names_in(folder) if tree.is_folder(folder) else []
        return sorted(folder / name for name in names if re.fullmatch(r"[0-9]{6,}-[a-z]+_[0-9]{6,}", name))

    def _try_remove(self, sequence: int) -> None:
        with contextlib.suppress(OSError):
            os.rename(self.folder(sequence), trash := self.directory / f".trash-{self.folder(sequence).name}")
            tree.try_remove(trash)


def bytes_in(metadata: Mapping[str, Any]) -> int:
    """Return how long the files are together that a folder's metadata list."""
    return sum(sums["bytes"] for sums in metadata["files"].values())


def is_damage(error: CheckpointCorruptError) -> bool:
    """Return whether `error` tells of damage, not of a later version's format or of trouble that will pass."""
    cause = error.__cause__
    return not isinstance(error, ForeignFormatError) and not (isinstance(cause, OSError) and cause.errno in _PASSING)


def _names_in(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sealed(sequence: int, content: Mapping[str, Any], files: Mapping[str, Any]) -> bytes:
    metadata = {**content, "format": FORMAT, "sequence": sequence, "files": files}
    metadata = signed(metadata, atomic.encode_json(metadata))
    return atomic.encode_json(metadata | {"sha256": atomic.digest_of(metadata)})


def _are_checksums(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(sums, dict) and sums.keys() == {"bytes", "sha256"} and type(sums["bytes"]) is int
        for sums in files.values()
    )


def _check_unchanged(data: bytes, metadata: Mapping[str, Any]) -> None:
    try:
        hashed = {name: value for name, value in metadata.items() if name != "sha256"}
        # Bytes, too: not every change of them is one of what they mean (a last line end, the case of an escape).
        is_so = atomic.digest_of(hashed) == metadata.get("sha256")
        is_so = is_so and atomic.encode_json(metadata) == data
    except (ValueError, TypeError, RecursionError) as error:
        # What the parser takes and the encoder refuses (1e999, nesting) was not written here.
        raise CheckpointCorruptError(f"its metadata.json cannot be verified: {error}.") from error
    if not is_so:
        raise CheckpointCorruptError("its metadata.json was changed since it was saved.")
