"""The snapshots in a directory as they lie on disk: read, written, ranked, listed in the manifest, pruned."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from tensor_optix.core.storage import atomic, resume_ring, tree
from tensor_optix.core.storage.durable_folder import LOOKS, DurableFolders, bytes_in, is_damage
from tensor_optix.core.storage.metadata import FOLDER_FORMAT, METADATA
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.arguments import is_whole
from tensor_optix.support.narrowing import is_mapping
from tensor_optix.support.plain import SavedState, jsonable

logger = logging.getLogger(__name__)

PREFIX = "snapshot_"
MANIFEST = "manifest.json"
Ranked: TypeAlias = Callable[[Sequence[PolicySnapshot]], Sequence[PolicySnapshot]]
_BEFORE = "before"
"""In metadata: the description of a snapshot when the run's state was last saved, and the number of that state."""
READ_AT_OPEN = 256 << 20
"""Bytes of snapshots that are hashed when a directory is opened; beyond, only names and lengths are compared."""


class SnapshotFolders(DurableFolders):
    """The folders of all snapshots in a directory, whose number is the snapshot's sequence number.

    Args:
        directory: where they are.
        ranked: returns the snapshots that have a rank, best first.
    """

    def __init__(self, directory: Path, ranked: Ranked) -> None:
        super().__init__(directory, PREFIX)
        self._ranked = ranked
        self._reported: set[int] = set()

    def read(self, sequence: int) -> SavedState:
        """Return the metadata of a snapshot, verified; they describe one."""
        metadata = super().read(sequence)
        _snapshot_in(metadata)
        return metadata

    def snapshot(self, sequence: int) -> PolicySnapshot:
        """Read the snapshot with this number; its weights are not looked at.

        Raises:
            CheckpointCorruptError: absent or damaged.
        """
        return _snapshot_in(super().read(sequence))

    def all(self) -> list[PolicySnapshot]:
        """Return all readable snapshots in the order of saving; a damaged one is logged once and left out."""
        found: list[PolicySnapshot] = []
        for _ in range(LOOKS):
            found, has_vanished = [], False
            for sequence in self.sequences():
                try:
                    found.append(self.snapshot(sequence))
                except CheckpointCorruptError as error:
                    # A writer may prune while another process reads; a folder that has vanished was not damaged.
                    if tree.is_gone(self.folder(sequence)):
                        has_vanished = True
                    elif sequence not in self._reported:
                        self._reported.add(sequence)
                        logger.warning("Snapshot %06d is damaged and is not used: %s", sequence, error)
            if not has_vanished:
                break
        return found

    def seal_snapshot(self, staged: Path, draft: PolicySnapshot) -> tuple[PolicySnapshot, bool]:
        """Make a staged folder the next snapshot; on return it is on disk.

        Args:
            staged: a folder with the policy.
            draft: the snapshot without its number, which is assigned here.

        Returns the snapshot, and False where there was the same one already and `staged` was dropped.
        """
        files = tree.checksums(staged)
        if twin := self._twin_of(draft, files):
            tree.try_remove(staged)
            return twin, False
        sequence = self.next_sequence()
        snapshot = dataclasses.replace(draft, snapshot_id=f"{sequence:06d}", sequence=sequence)
        self.seal(staged, sequence, {"snapshot": snapshot.to_dict()}, files)
        return snapshot, True

    def replace(self, snapshot: PolicySnapshot) -> None:
        """Rewrite the description of a snapshot; the earlier one is kept for runs that resume from a saved state.

        Raises:
            CheckpointCorruptError: its metadata are damaged.
            OSError: they cannot be read or written.
        """
        try:
            found = self.read(snapshot.sequence)
        except CheckpointCorruptError as error:
            raise error.__cause__ if isinstance(error.__cause__, OSError) else error from None
        content: dict[str, object] = {"snapshot": snapshot.to_dict()}
        point = next(reversed(DurableFolders(self.directory, resume_ring.PREFIX).sequences()), None)
        if point is not None:
            before: object = found.get(_BEFORE)
            is_of_now = is_mapping(before) and before.get("point") == point
            content[_BEFORE] = before if is_of_now else {"point": point, "snapshot": found["snapshot"]}
        self.rewrite(snapshot.sequence, content, found["files"])

    def go_back_to(self, point: int) -> None:
        """Undo what `replace` has done since the run's state with this number was saved.

        Raises:
            CheckpointCorruptError: an earlier description is not that of a snapshot.
            OSError: metadata cannot be written.
        """
        for sequence in self.sequences():
            try:
                metadata = self.read(sequence)
            except CheckpointCorruptError:
                continue  # reported where snapshots are listed
            before: object = metadata.get(_BEFORE)
            if not is_mapping(before):
                continue
            saved_at = before.get("point")
            if is_whole(saved_at) and saved_at >= point:
                earlier = _snapshot_in({**metadata, "snapshot": before.get("snapshot")})
                self.rewrite(sequence, {"snapshot": earlier.to_dict()}, metadata["files"])

    def list_and_prune(self, max_snapshots: int, pinned: Collection[str] = ()) -> None:
        """Delete all but the newest `max_snapshots`, the best and the pinned; list the rest in the manifest.

        What is in reserve is neither counted nor deleted.
        """
        snapshots = [snapshot for snapshot in self.all() if not snapshot.in_reserve]
        best = next(iter(self._ranked(snapshots)), None)
        newest = {s.sequence for s in snapshots[-max_snapshots:]}
        kept = [s for s in snapshots if s.sequence in newest or s is best or s.snapshot_id in pinned]
        unlisted: OSError | None = None
        try:
            self.write_manifest(kept)
        except OSError as error:
            unlisted = error  # on a full disk, deleting makes room
        if surplus := [s.sequence for s in snapshots if s not in kept]:
            self.remove(surplus)
        if unlisted is not None:
            raise unlisted

    def drop_reserve(self, sequences: Sequence[int]) -> None:
        """Delete snapshots as far as they are still in reserve; a damaged one is quarantined when all are opened."""
        gone: list[int] = []
        for sequence in sequences:
            with contextlib.suppress(CheckpointCorruptError):
                if self.snapshot(sequence).in_reserve:
                    gone.append(sequence)
        self.remove(gone)

    def write_manifest(self, snapshots: Sequence[PolicySnapshot]) -> None:
        """Write the manifest, for people and their programs; nothing here reads it. What is in reserve is left out."""
        best = next(iter(self._ranked(snapshots)), None)
        manifest = {
            "format": FOLDER_FORMAT,
            "best": best.snapshot_id if best else None,
            "snapshots": [
                {
                    "id": s.snapshot_id,
                    "window_id": s.window_id,
                    "score": jsonable(s.eval_metrics.primary_score) if s.eval_metrics.is_usable else None,
                }
                for s in snapshots
                if not s.in_reserve
            ],
        }
        atomic.replace_file(self.directory / MANIFEST, atomic.encode_json(manifest))

    def quarantine_damaged(self) -> None:
        """Verify all and move the damaged ones to quarantine."""
        left = READ_AT_OPEN
        for sequence in reversed(self.sequences()):
            try:
                metadata = self.verify(sequence, max_bytes=left)
                left -= min(left, bytes_in(metadata))
            except CheckpointCorruptError as error:
                if is_damage(error):
                    self.quarantine(sequence, error)

    def _twin_of(self, draft: PolicySnapshot, files: tree.Checksums) -> PolicySnapshot | None:
        """Return the newest snapshot that is the same but for its number and the time, and intact.

        A run that was cut off leaves policies in reserve and untested ones, which it comes to again when it is resumed:
        those are looked through, up to the first that is neither.
        """
        for sequence in reversed(self.sequences()):
            try:
                found = self.snapshot(sequence)
            except CheckpointCorruptError:
                continue
            if found.window_id < draft.window_id:
                return None
            if self._is_twin(draft, files, found):
                # The process that wrote it may have died before this step.
                atomic.fsync_directory(self.directory)
                return found
            if not found.in_reserve and found.eval_metrics.has_evidence:
                return None
        return None

    def _is_twin(self, draft: PolicySnapshot, files: tree.Checksums, found: PolicySnapshot) -> bool:
        same = dataclasses.replace(
            draft, snapshot_id=found.snapshot_id, sequence=found.sequence, created_at=found.created_at
        )
        # Compared as they are written: NaN is then equal to itself.
        is_same = atomic.encode_json(same.to_dict()) == atomic.encode_json(found.to_dict())
        try:
            return is_same and self.verify(found.sequence)["files"] == files
        except CheckpointCorruptError:
            return False


class LoneSnapshot(SnapshotFolders):
    """One snapshot, wherever its folder was copied to, and whatever it is called there; it is only read.

    Args:
        path: its folder.

    Raises:
        CheckpointCorruptError: its metadata are damaged.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, lambda snapshots: snapshots)
        self._path = path
        metadata = atomic.read_json(path / METADATA)
        if not is_whole(number := metadata.get("sequence")):
            raise CheckpointCorruptError(f"{str(path)!r} has the number {number!r}, which is none.")
        self.sequence = int(number)
        """Its number in the run that has saved it."""

    def folder(self, sequence: int) -> Path:
        """Return its folder."""
        return self._path


def _snapshot_in(metadata: SavedState) -> PolicySnapshot:
    try:
        snapshot = PolicySnapshot.from_dict(metadata["snapshot"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointCorruptError(f"its metadata.json does not have the expected fields: {error!r}.") from error
    if (snapshot.sequence, snapshot.snapshot_id) != (metadata["sequence"], f"{metadata['sequence']:06d}"):
        raise CheckpointCorruptError(f"its metadata.json belongs to snapshot {snapshot.snapshot_id!r}.")
    return snapshot
