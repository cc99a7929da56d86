"""Whose directory it is, and who may write to it while others read."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import (
    CheckpointLockedError,
    CheckpointStorageError,
    CheckpointUnsafeError,
)
from tests.fakes.checkpoints import best_weight, other_process, save, scores
from tests.helpers import NumpyAgent

# --- whose directory it is ---


@pytest.mark.skipif(os.name != "posix", reason="no such modes on this platform")
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_directory_that_others_may_write_to_is_refused_unless_that_is_allowed(
    directory: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(parents=True)
    directory.chmod(mode)
    registry = CheckpointRegistry(directory)
    with pytest.raises(CheckpointUnsafeError, match=rf"mode {mode:04o}; chmod go-w.*allow_shared_directory=True"):
        save(registry, 1.0)
    assert list(directory.iterdir()) == []
    allowed = CheckpointRegistry(directory, allow_shared_directory=True)
    save(allowed, 1.0)
    allowed.close()
    assert scores(registry) == [1.0]  # reading asks for no more than the checksums
    monkeypatch.setenv("TENSOR_OPTIX_ALLOW_SHARED_DIRECTORY", "1")
    allowed = CheckpointRegistry(directory)
    save(allowed, 2.0)
    allowed.close()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such users on this platform")
def test_a_directory_of_another_user_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(CheckpointRegistry(directory), 1.0)
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    with pytest.raises(CheckpointUnsafeError, match="belongs to user"):
        CheckpointRegistry(directory).open()


def test_a_new_directory_is_for_its_user_alone(registry: CheckpointRegistry, directory: Path) -> None:
    save(registry, 1.0)
    assert directory.stat().st_mode & 0o077 == 0
    assert registry.path_of(registry.snapshots()[0]).stat().st_mode & 0o077 == 0


# --- several hands ---


def test_a_second_process_cannot_write_but_may_read(registry: CheckpointRegistry, directory: Path) -> None:
    save(registry, 1.0)
    with other_process(directory) as other:
        assert other.communicate(timeout=60)[0].split() == ["locked", "1"]
    assert scores(registry) == [1.0]
    registry.close()
    with other_process(directory) as other:
        assert other.communicate(timeout=60)[0].split() == ["saved"]
    assert scores(registry) == [1.0, 7.0]


def test_a_killed_holder_frees_the_lock_and_leaves_what_it_saved(registry: CheckpointRegistry, directory: Path) -> None:
    with other_process(directory, "hold") as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == ["saved"]
        with pytest.raises(CheckpointLockedError, match="in use by another process"):
            save(registry, 1.0)
        other.kill()
    save(registry, 1.0)
    assert scores(registry) == [7.0, 1.0]


def test_what_changes_a_directory_does_not_go_past_another_process_that_has_the_lock(
    registry: CheckpointRegistry, directory: Path
) -> None:
    snapshot, staged = save(registry, 1.0), registry.stage(NumpyAgent())
    registry.close()
    with other_process(directory, "hold") as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == ["saved"]
        with pytest.raises(CheckpointLockedError, match="in use by another process"):
            registry.rescore(snapshot, EvalMetrics(99.0))
        with pytest.raises(CheckpointLockedError, match="in use by another process"):
            registry.commit(staged, EvalMetrics(99.0), 0, HyperparamSet({}))
        with pytest.raises(CheckpointLockedError, match="in use by another process"):
            registry.prune()
        other.kill()
    assert scores(registry) == [1.0, 7.0]


def test_two_registries_of_one_process_share_a_directory(registry: CheckpointRegistry, directory: Path) -> None:
    other = CheckpointRegistry(directory)
    save(registry, 1.0)
    save(other, 3.0)
    save(registry, 2.0)
    assert scores(registry) == scores(other) == [1.0, 3.0, 2.0]
    assert registry.best == other.best
    registry.close()
    save(other, 4.0)  # it still has the lock
    with other_process(directory) as process:
        assert process.communicate(timeout=60)[0].split() == ["locked", "4"]
    other.close()


class PrunesUnderItsEyes:
    """Lets another hand save a better snapshot, and prune, at the n-th call of a function of the reader's."""

    def __init__(self, patch: pytest.MonkeyPatch, writer: CheckpointRegistry, owner: Any, name: str, n: int) -> None:
        self.calls, self.n, self.writer, self.real = 0, n, writer, getattr(owner, name)
        patch.setattr(owner, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self.n:
            save(self.writer, 10.0 + self.n)
        return self.real(*args, **kwargs)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(tree, "is_folder"), (atomic, "read_plain"), (tree, "checksums"), (np, "load")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_reader_is_not_misled_by_what_is_pruned_while_it_reads(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: Any, name: str
) -> None:
    writer, reader = CheckpointRegistry(directory, max_snapshots=1), CheckpointRegistry(directory)
    save(writer, 1.0)
    for n in range(1, 100):
        with monkeypatch.context() as patch:
            pruning = PrunesUnderItsEyes(patch, writer, owner, name, n)
            loaded = best_weight(reader)
        if pruning.calls < n:
            break
        assert loaded in (scores(writer)[-1], 10.0 + n - 1, 1.0)
    assert n > 1
    assert caplog.records == []  # nothing was damaged
    writer.close()


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_directory_that_cannot_be_written_is_a_storage_error_that_names_it(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    registry = CheckpointRegistry(tmp_path / "file" / below)
    with pytest.raises(CheckpointStorageError, match="Could not create") as error:
        save(registry, 1.0)
    assert str(tmp_path / "file") in str(error.value)
