"""Snapshots on disk, the best of them, and the manifest.

    checkpoint_dir/
        manifest.json                       which snapshots there are and which is best; rebuilt from them if it is lost
        snapshot_<id>/metadata.json         score, hyper-parameters, length and SHA-256 of each file, and its own hash
        snapshot_<id>/weights/              whatever the agent's save_weights wrote
        snapshot_<id>/companions.json       what belongs to the policy besides, where there is any

All paths are computed from ids and relative to the directory, so that a moved one still loads. A snapshot is written to
a temporary folder, synced, renamed, and only then listed: what `save` has returned is safe.
"""

import contextlib
import dataclasses
import itertools
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tensor_optix.core import _atomic
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.companions import Stateful, restored_companions, write_companions
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot, jsonable
from tensor_optix.errors import CheckpointCorruptError, CheckpointError, ContractError, InvalidArgumentError

logger = logging.getLogger(__name__)

FORMAT = 1
_ID = re.compile(r"[a-z0-9-]{1,64}")
_PREFIX = "snapshot_"
_DIGITS = 12
_STAGED = itertools.count()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CheckpointRegistry:
    """The snapshots of one run in one directory.

    Several registries of one process may share a directory: each looks at the disk, none remembers.

    Args:
        checkpoint_dir: where to keep them; created at the first write.
        max_snapshots: how many of the newest to keep; the best one is kept besides.
        now: wall clock for the `created_at` notes.

    Raises:
        InvalidArgumentError: `max_snapshots` below 1.
    """

    def __init__(
        self,
        checkpoint_dir: str | os.PathLike[str] = "./checkpoints",
        max_snapshots: int = 10,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        if max_snapshots < 1:
            raise InvalidArgumentError(f"max_snapshots must be at least 1, but got {max_snapshots!r}.")
        self.directory = Path(checkpoint_dir)
        self.max_snapshots = max_snapshots
        self._now = now
        self._lock: _atomic.DirectoryLock | None = None
        self.companions: dict[str, Stateful] = {}
        """What is saved and restored together with the agent's weights, by name."""

    def attach(self, name: str, part: Stateful) -> None:
        """From now on save the state of `part` with each snapshot, and restore it with the agent's weights.

        A part without a state (an empty `state_dict`) leaves snapshots as they are.
        """
        if not isinstance(part, Stateful):
            raise ContractError(f"{name!r} needs state_dict and load_state_dict, which {type(part).__name__} lacks.")
        self.companions[name] = part

    def open(self) -> None:
        """Create the directory, take its lock, and clear away what an interrupted write left.

        Raises:
            CheckpointLockedError: another process writes to it.
            CheckpointStorageError: it cannot be created or written.
        """
        with _atomic.storage_errors("create", self.directory):
            is_new = not self.directory.exists()
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if is_new:
                _atomic.fsync_directory(self.directory.parent)
        if self._lock is None:
            self._lock = _atomic.DirectoryLock(self.directory)
        if self._lock.acquire():
            # Nobody in this process has been writing here: what is unfinished was left by one that died.
            with _atomic.storage_errors("clean", self.directory):
                for litter in (*self.directory.glob(".tmp-*"), *self.directory.glob(".trash-*")):
                    _remove(litter)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()

    def save(
        self,
        agent: BaseAgent,
        eval_metrics: EvalMetrics,
        window_id: int = 0,
        hyperparams: HyperparamSet | None = None,
        evidence: Sequence[PlayedWindow] = (),
    ) -> PolicySnapshot:
        """Save the agent's weights with their score; on return they are on disk."""
        hyperparams = hyperparams or agent.get_hyperparams()
        return self.commit(self.stage(agent), eval_metrics, window_id, hyperparams, evidence)

    def stage(self, agent: BaseAgent) -> Path:
        """Write the policy (weights, companions) to a temporary folder, to be committed once its score is known."""
        self.open()
        staged = self.directory / f".tmp-{os.getpid()}-{next(_STAGED)}"
        with _atomic.storage_errors("write", staged), _removed_on_failure(staged):
            (staged / "weights").mkdir(parents=True)
            agent.save_weights(str(staged / "weights" / "agent"))
            if not any(path.is_file() for path in (staged / "weights").rglob("*")):
                raise CheckpointError(f"{type(agent).__name__}.save_weights(path) wrote no file at its path.")
            write_companions(staged, self.companions)
        return staged

    def discard(self, staged: Path) -> None:
        """Drop a staged folder."""
        with _atomic.storage_errors("remove", staged):
            _remove(staged)

    def commit(
        self,
        staged: Path,
        eval_metrics: EvalMetrics,
        window_id: int,
        hyperparams: HyperparamSet,
        evidence: Sequence[PlayedWindow] = (),
    ) -> PolicySnapshot:
        """Turn a staged folder into a snapshot, list it, and prune."""
        with _removed_on_failure(staged), _atomic.storage_errors("save a snapshot in", self.directory):
            self.open()
            sequence = self._next_sequence()
            snapshot = PolicySnapshot(
                snapshot_id=f"{sequence:06d}",
                sequence=sequence,
                window_id=window_id,
                eval_metrics=eval_metrics,
                hyperparams=hyperparams.copy(),
                created_at=self._now().isoformat(timespec="seconds"),
                evidence=tuple(evidence),
            )
            _atomic.fsync_tree(staged)
            _atomic.write_file(staged / "metadata.json", _metadata(snapshot, _atomic.tree_checksums(staged)))
            _atomic.fsync_directory(staged)
            os.rename(staged, self._folder(snapshot.snapshot_id))
            _atomic.fsync_directory(self.directory)
            self._list_and_prune()
        return snapshot

    def rescore(
        self, snapshot: PolicySnapshot, eval_metrics: EvalMetrics, evidence: Sequence[PlayedWindow] = ()
    ) -> PolicySnapshot:
        """Replace a snapshot's score and the episodes behind it by more trustworthy ones, and return it with them."""
        self.open()
        _, files = self._read(snapshot.snapshot_id)
        rescored = dataclasses.replace(snapshot, eval_metrics=eval_metrics, evidence=tuple(evidence))
        with _atomic.storage_errors("rescore a snapshot in", self.directory):
            # The temporary file stays out of the snapshot, where a crash would leave it as a foreign file.
            _atomic.replace_file(
                self._folder(snapshot.snapshot_id) / "metadata.json", _metadata(rescored, files), self.directory
            )
            self._write_manifest(self.snapshots())
        return rescored

    def prune(self) -> None:
        """Delete all but the newest `max_snapshots` and the best; `commit` does so by itself, `rescore` does not."""
        self.open()
        with _atomic.storage_errors("prune", self.directory):
            self._list_and_prune()

    def snapshots(self) -> list[PolicySnapshot]:
        """Return all readable snapshots in the order of saving; a damaged one is reported and left out."""
        found = []
        for snapshot_id in self._ids():
            try:
                found.append(self._read(snapshot_id)[0])
            except CheckpointCorruptError as error:
                logger.warning("Snapshot %s is damaged and is not used: %s", snapshot_id, error)
        return found

    @property
    def ranked_snapshots(self) -> list[PolicySnapshot]:
        """The scored snapshots, best first; of equals the earlier one first."""
        return _ranked(self.snapshots())

    @property
    def best(self) -> PolicySnapshot | None:
        """The snapshot with the highest score, None where none has one."""
        return next(iter(self.ranked_snapshots), None)

    def path_of(self, snapshot: PolicySnapshot) -> Path:
        """Return the folder of a snapshot."""
        return self._folder(snapshot.snapshot_id)

    def load(self, snapshot: PolicySnapshot, agent: BaseAgent) -> None:
        """Verify a snapshot's files and load its weights into `agent`, and its companions into what is attached.

        Raises:
            CheckpointCorruptError: a file is missing, changed or not a plain file; nothing is touched.
            CheckpointMismatchError: it holds no state, or none that fits, of what is attached; nothing is touched.
        """
        _, files = self._read(snapshot.snapshot_id)
        folder = self._folder(snapshot.snapshot_id)
        with _atomic.storage_errors("read", folder):
            actual = _atomic.tree_checksums(folder)
            actual.pop("metadata.json", None)
            if actual != files:
                changed = sorted(name for name in actual.keys() | files.keys() if actual.get(name) != files.get(name))
                raise CheckpointCorruptError(
                    f"Snapshot {snapshot.snapshot_id} in {str(self.directory)!r} is damaged: {', '.join(changed)} "
                    f"missing, changed or added since it was saved."
                )
            with restored_companions(folder, self.companions):
                agent.load_weights(str(folder / "weights" / "agent"))

    def load_best(self, agent: BaseAgent) -> PolicySnapshot:
        """Load the best intact snapshot into `agent` and return it; a damaged one is reported and the next one tried.

        Raises:
            CheckpointCorruptError: no intact snapshot is left.
        """
        for snapshot in self.ranked_snapshots:
            try:
                self.load(snapshot, agent)
            except CheckpointCorruptError as error:
                logger.warning("Snapshot %s cannot be loaded, trying the next best: %s", snapshot.snapshot_id, error)
            else:
                return snapshot
        raise CheckpointCorruptError(f"{str(self.directory)!r} holds no intact snapshot with a score.")

    def archive(self, also: Sequence[str] = ()) -> Path | None:
        """Move everything an earlier run left here to `previous_<n>/`, so that a new run starts from nothing.

        Args:
            also: names of files of the caller's own that belong to the run.

        Returns the folder it was moved to, None where there was nothing to move.
        """
        self.open()
        with _atomic.storage_errors("archive an earlier run in", self.directory):
            old = [path for path in self.directory.iterdir() if path.name.startswith(_PREFIX)]
            old += [
                path
                for name in ("manifest.json", "history.jsonl", "report.json", *also)
                if (path := self.directory / name).exists()
            ]
            if not old:
                return None
            taken = {path.name for path in self.directory.glob("previous_*")}
            target = next(
                self.directory / name for n in range(len(taken) + 1) if (name := f"previous_{n:03d}") not in taken
            )
            target.mkdir()
            for path in old:
                os.rename(path, target / path.name)
            _atomic.fsync_directory(target)
            _atomic.fsync_directory(self.directory)
            return target

    def _folder(self, snapshot_id: str) -> Path:
        if not _ID.fullmatch(snapshot_id):
            raise CheckpointCorruptError(f"{snapshot_id!r} is no snapshot id (a-z, 0-9 and '-', at most 64).")
        return self.directory / f"{_PREFIX}{snapshot_id}"

    def _ids(self) -> list[str]:
        # The listing of the directory is the truth: losing the manifest loses nothing.
        folders = (path for path in self.directory.glob(f"{_PREFIX}*") if path.is_dir() and not path.is_symlink())
        return sorted(name for path in folders if _ID.fullmatch(name := path.name.removeprefix(_PREFIX)))

    def _next_sequence(self) -> int:
        # Whatever has the name, be it a folder of ours or not: a new one must not collide with it.
        names = (path.name.removeprefix(_PREFIX) for path in self.directory.glob(f"{_PREFIX}*"))
        return max((int(name) for name in names if name.isdecimal() and len(name) <= _DIGITS), default=-1) + 1

    def _read(self, snapshot_id: str) -> tuple[PolicySnapshot, dict[str, Any]]:
        metadata = _atomic.read_json(self._folder(snapshot_id) / "metadata.json")
        recorded = metadata.pop("sha256", None)
        try:
            if metadata["format"] != FORMAT:
                raise CheckpointCorruptError(f"its format is {metadata['format']!r}, this version reads {FORMAT}.")
            if _atomic.digest_of(metadata) != recorded:
                raise CheckpointCorruptError("its metadata.json was changed since it was saved.")
            snapshot = PolicySnapshot.from_dict(metadata["snapshot"])
            if snapshot.snapshot_id != snapshot_id:
                raise CheckpointCorruptError(f"its metadata.json belongs to snapshot {snapshot.snapshot_id!r}.")
            return snapshot, dict(metadata["files"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointCorruptError(f"its metadata.json does not have the expected fields: {error!r}.") from error

    def _list_and_prune(self) -> None:
        snapshots = self.snapshots()
        best = next(iter(_ranked(snapshots)), None)
        kept = [s for i, s in enumerate(snapshots) if i >= len(snapshots) - self.max_snapshots or s is best]
        self._write_manifest(kept)
        for surplus in (s for s in snapshots if s not in kept):
            # Renamed first: a half-deleted folder must never look like a snapshot.
            trash = self.directory / f".trash-{surplus.snapshot_id}"
            _remove(trash)
            os.rename(self._folder(surplus.snapshot_id), trash)
            _remove(trash)

    def _write_manifest(self, snapshots: Sequence[PolicySnapshot]) -> None:
        best = next(iter(_ranked(snapshots)), None)
        manifest = {
            "format": FORMAT,
            "best": best.snapshot_id if best else None,
            "snapshots": [
                {"id": s.snapshot_id, "window_id": s.window_id, "score": jsonable(s.eval_metrics.primary_score)}
                for s in snapshots
            ],
        }
        _atomic.replace_file(self.directory / "manifest.json", _atomic.encode_json(manifest))


def _metadata(snapshot: PolicySnapshot, files: dict[str, Any]) -> bytes:
    metadata = {"format": FORMAT, "snapshot": snapshot.to_dict(), "files": files}
    return _atomic.encode_json(metadata | {"sha256": _atomic.digest_of(metadata)})


def _ranked(snapshots: Sequence[PolicySnapshot]) -> list[PolicySnapshot]:
    scored = [snapshot for snapshot in snapshots if snapshot.eval_metrics.is_usable]
    return sorted(scored, key=lambda snapshot: (-snapshot.eval_metrics.primary_score, snapshot.sequence))


@contextlib.contextmanager
def _removed_on_failure(staged: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(staged)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
