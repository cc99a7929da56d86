"""Faulty versions of the storage code: each leaves out one thing that durability rests on, and must be found out.

They are made below the code, at the calls to the operating system, wherever that can be done, so that they say what is
left out and not how the code is written.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.storage.durable_folder import DurableFolders
from tests.soak.faults._ledger import RUN

Patch = contextlib.AbstractContextManager[Any]
_SNAPSHOT = re.compile(r"snapshot_\d+")


@dataclass(frozen=True)
class Mutant:
    """A fault in the storage code.

    Args:
        apply: puts it in force.
        found_by: the check that must find it: "replay" of power cuts, or one in `test_durability_mutants`.
        workloads: those whose replay finds it.
        equivalent: why no check can find it; empty for one that must be found.
    """

    apply: Callable[[], Patch]
    found_by: str = "replay"
    workloads: tuple[str, ...] = ("save and prune",)
    equivalent: str = ""


@contextlib.contextmanager
def in_force(name: str | None, after_setup: Iterator[None]) -> Iterator[Iterator[None]]:
    """Run the part of a workload that prepares, and put a mutant in force for the rest."""
    next(after_setup)
    with MUTANTS[name].apply() if name else contextlib.nullcontext():
        yield after_setup


def _without_sync(applies: Callable[[Path], bool]) -> Callable[[], Patch]:
    """Leave out the `fsync` of the paths that `applies` says."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if not applies(Path(os.readlink(f"/proc/self/fd/{descriptor}"))):
            sync(descriptor)

    return lambda: mock.patch.object(os, "fsync", fsync)


def _renaming(rename: Callable[[Path, Path], None]) -> Callable[[], Patch]:
    """Do something else when a staged snapshot gets its name."""
    real = os.rename

    def replaced(source: Any, target: Any, **where: Any) -> None:
        if Path(source).name.startswith(".tmp-") and _SNAPSHOT.fullmatch(Path(target).name):
            rename(Path(source), Path(target))
        else:
            real(source, target, **where)

    return lambda: mock.patch.object(os, "rename", replaced)


def _copied(source: Path, target: Path) -> None:
    def copy(file: str, to: str) -> None:
        time.sleep(0.002)  # a large one takes its time, and a kill must have a chance to come between
        Path(to).write_bytes(Path(file).read_bytes())

    shutil.copytree(source, target, copy_function=copy)
    tree.sync(target)
    shutil.rmtree(source)


def _deleting_first(source: Path, target: Path) -> None:
    snapshots = sorted(path for path in target.parent.iterdir() if _SNAPSHOT.fullmatch(path.name))
    for surplus in snapshots[:-1]:
        shutil.rmtree(surplus)
    os.replace(source, target)


@contextlib.contextmanager
def _renamed_before_synced() -> Iterator[None]:
    real, sync = os.rename, os.fsync
    waiting: list[Path] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if any(part.startswith(".tmp-snapshot_") for part in path.parts):
            waiting.append(path)
        else:
            sync(descriptor)

    def rename(source: Any, target: Any, **where: Any) -> None:
        real(source, target, **where)
        if _SNAPSHOT.fullmatch(Path(target).name):
            sync_path(Path(target).parent)
            for path in waiting:
                sync_path(Path(target) / path.relative_to(source))
            waiting.clear()

    def sync_path(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        sync(descriptor)
        os.close(descriptor)

    with mock.patch.object(os, "fsync", fsync), mock.patch.object(os, "rename", rename):
        yield


def _replaced_in_place(name: str) -> Callable[[], Patch]:
    """Write over a file instead of renaming a new one over it."""
    real = os.replace

    def replace(source: Any, target: Any, **where: Any) -> None:
        if Path(target).name != name:
            real(source, target, **where)
            return
        data = Path(source).read_bytes()
        with Path(target).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(source).unlink()

    return lambda: mock.patch.object(os, "replace", replace)


@contextlib.contextmanager
def _metadata_first() -> Iterator[None]:
    """Sync the files and what is known of them only after the folder has its name."""
    seal, sync = DurableFolders.seal, tree.sync

    def sealed(self: DurableFolders, staged: Path, sequence: int, content: Any, files: Any = None) -> Path:
        target = seal(self, staged, sequence, content, files)
        sync(target)
        return target

    with mock.patch.object(DurableFolders, "seal", sealed), mock.patch.object(tree, "sync"):
        yield


def _deleted_in_place() -> Patch:
    """Delete a snapshot under its own name, file by file."""

    def remove(self: DurableFolders, sequences: Any, *, sync: bool = True) -> None:
        for sequence in sequences:
            tree.remove(self.folder(sequence))
        atomic.fsync_directory(self.directory)

    return mock.patch.object(DurableFolders, "remove", remove)


def _unverified(self: DurableFolders, sequence: int, *, max_bytes: int | None = None) -> dict[str, Any]:
    return self.read(sequence)


def _without_flag(flag: int) -> Callable[[], Patch]:
    real = os.open
    return lambda: mock.patch.object(os, "open", lambda path, flags, *a, **k: real(path, flags & ~flag, *a, **k))


def _sync_errors_ignored() -> Patch:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        with contextlib.suppress(OSError):
            real(descriptor)

    return mock.patch.object(os, "fsync", fsync)


def _storage_errors_ignored() -> Patch:
    """Say that a save is done when the storage has failed: the newest snapshot, whatever it is, stands for it."""
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry
    from tensor_optix.core.types import PolicySnapshot
    from tensor_optix.errors import CheckpointStorageError

    save = CheckpointRegistry.save

    def saved(self: CheckpointRegistry, agent: Any, metrics: Any, window_id: int = 0, *rest: Any) -> PolicySnapshot:
        try:
            return save(self, agent, metrics, window_id, *rest)
        except CheckpointStorageError:
            return PolicySnapshot(
                snapshot_id="000999",
                sequence=999,
                window_id=window_id,
                eval_metrics=metrics,
                hyperparams=agent.get_hyperparams(),
                created_at="",
            )

    return mock.patch.object(CheckpointRegistry, "save", saved)


def _is_weights(path: Path) -> bool:
    return path.parent.name == "weights"


def _is_directory(path: Path) -> bool:
    return path.name == RUN


def _has_trash(path: Path) -> bool:
    return _is_directory(path) and any(path.glob(".trash-*"))


MUTANTS: dict[str, Mutant] = {
    "nothing is synced": Mutant(_without_sync(lambda path: True)),
    "the weight files are not synced": Mutant(_without_sync(_is_weights)),
    "the metadata of a new snapshot are not synced": Mutant(
        _without_sync(lambda path: path.name == "metadata.json" and path.parent.name.startswith(".tmp-"))
    ),
    "the folder of the weight files is not synced": Mutant(_without_sync(lambda path: path.name == "weights")),
    "the staged folder is not synced": Mutant(_without_sync(lambda path: path.name.startswith(".tmp-snapshot"))),
    "the directory is not synced": Mutant(_without_sync(_is_directory)),
    "the parent of a new directory is not synced": Mutant(_without_sync(lambda path: (path / RUN).is_dir())),
    "renamed before synced": Mutant(_renamed_before_synced),
    "metadata before data": Mutant(_metadata_first),
    "copied into place instead of renamed": Mutant(_renaming(_copied)),
    "the old is deleted before the new is durable": Mutant(_renaming(_deleting_first)),
    "deleted under its own name": Mutant(_deleted_in_place),
    "deleted before its new name is durable": Mutant(_without_sync(_has_trash)),
    "a new score is written in place": Mutant(_replaced_in_place("metadata.json"), workloads=("rescore",)),
    "a new score is not synced": Mutant(
        _without_sync(lambda path: path.name == ".tmp-metadata.json"), workloads=("rescore",)
    ),
    "the folder of a new score is not synced": Mutant(
        _without_sync(lambda path: _SNAPSHOT.fullmatch(path.name) is not None), workloads=("rescore",)
    ),
    "the state of a resume point is not synced": Mutant(
        _without_sync(lambda path: path.name == "state.json"), workloads=("resume",)
    ),
    "the manifest is written in place": Mutant(
        _replaced_in_place("manifest.json"), equivalent="nothing is read from the manifest: the folders are the truth"
    ),
    "the manifest is not synced": Mutant(
        _without_sync(lambda path: path.name == ".tmp-manifest.json"),
        equivalent="nothing is read from the manifest: the folders are the truth",
    ),
    "a failed sync is ignored": Mutant(_sync_errors_ignored, found_by="failing calls"),
    "a failed save is said to be done": Mutant(_storage_errors_ignored, found_by="failing calls"),
    "checksums are not verified": Mutant(
        lambda: mock.patch.object(DurableFolders, "verify", _unverified), found_by="flipped bits"
    ),
    "the metadata's own hash is not verified": Mutant(
        lambda: mock.patch.object(atomic, "digest_of", return_value="0" * 64), found_by="flipped bits"
    ),
    "an existing file is written over": Mutant(_without_flag(os.O_EXCL), found_by="planted files"),
    "links are followed": Mutant(_without_flag(getattr(os, "O_NOFOLLOW", 0)), found_by="planted links"),
    "litter is not cleared": Mutant(
        lambda: mock.patch.object(DurableFolders, "clean", return_value=None), found_by="litter"
    ),
    "nothing is pruned": Mutant(
        lambda: mock.patch.object(DurableFolders, "remove", return_value=None), found_by="disk use"
    ),
    "the lock is not taken": Mutant(
        lambda: mock.patch.object(atomic.DirectoryLock, "acquire", return_value=True), found_by="second writer"
    ),
}
