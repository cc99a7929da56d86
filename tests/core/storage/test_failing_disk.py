"""What a disk that fails does to a checkpoint directory."""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage import tree
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import CheckpointStorageError
from tests.fakes.checkpoints import litter
from tests.fakes.disk import BigAgent, save_big, write_agent

# --- storage that fails ---


class FailingDisk:
    """Lets `n` of the calls to the system happen and fails the next one, or all from there on."""

    def __init__(self, patch: pytest.MonkeyPatch, n: int, code: int, calls: list[str], *, for_good: bool) -> None:
        self.left, self.code, self.for_good = n, code, for_good
        patch.setattr(tree, "AT_ONCE", 1)  # the calls are counted
        for name in calls:
            patch.setattr(os, name, self._wrap(getattr(os, name)))

    @property
    def has_failed(self) -> bool:
        return self.left < 0

    def _wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if real.__name__ == "open" and self.code != errno.EIO and not args[1] & (os.O_WRONLY | os.O_RDWR):
                return real(*args, **kwargs)  # a full disk can be read
            self.left -= 1
            if self.left == -1 or (self.for_good and self.left < 0):
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call


Deed = Callable[[CheckpointRegistry, ResumeRing], Any]

SECOND = PolicySnapshot(
    snapshot_id="000001",
    sequence=1,
    window_id=1,
    eval_metrics=EvalMetrics(3.0),
    hyperparams=HyperparamSet({}),
    created_at="",
)

DEEDS: dict[str, Deed] = {
    "save": lambda registry, ring: save_big(registry, 4.0, 9),
    "rescore": lambda registry, ring: registry.rescore(SECOND, EvalMetrics(3.5)),
    "prune": lambda registry, ring: registry.prune(),
    "ring": lambda registry, ring: ring.save(write_agent(4.0), {"n": 4}),
    "begin": lambda registry, ring: ring.begin(ResumePoint(1, ring.directory / "resume_000001", {})),
}

FAULTS = pytest.mark.parametrize(
    ("code", "calls"),
    [
        (errno.ENOSPC, ["open", "write", "mkdir", "rename", "replace", "fsync"]),
        (errno.EIO, ["write", "fsync"]),
        (errno.EROFS, ["open", "mkdir", "rename", "replace", "unlink", "rmdir"]),
    ],
    ids=["ENOSPC", "EIO", "EROFS"],
)


@FAULTS
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_disk_that_fails_at_any_call_is_a_storage_error_that_loses_nothing_and_is_got_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, code: int, calls: list[str], for_good: bool
) -> None:
    fail_at_every_call(tmp_path, monkeypatch, deed, code, calls, for_good=for_good)


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_disk_that_reads_no_better_than_it_writes_does_no_harm_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, for_good: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    calls = ["open", "write", "fsync", "mkdir", "rename", "replace", "listdir", "unlink", "rmdir", "lstat", "fstat"]
    fail_at_every_call(tmp_path, monkeypatch, deed, errno.EIO, calls, for_good=for_good)


def fail_at_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, code: int, calls: list[str], *, for_good: bool
) -> None:
    refused = 0
    for n in range(1000):
        directory = tmp_path / str(n)
        registry, ring = CheckpointRegistry(directory, max_snapshots=3), ResumeRing(directory)
        for window_id, score in enumerate((1.0, 3.0, 2.0)):
            save_big(registry, score, window_id)
        ring.save(write_agent(1.0), {"n": 1})
        ring.save(write_agent(2.0), {"n": 2})
        if deed == "prune":
            registry.max_snapshots = 1
        returned = None
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, n, code, calls, for_good=for_good)
            try:
                returned = DEEDS[deed](registry, ring)
            except CheckpointStorageError:
                refused += 1
        registry.close()
        check_after_failure(directory, deed, returned)
        shutil.rmtree(directory)
        if not disk.has_failed:
            assert min(n, refused) >= 3, "hardly any call was found to fail"
            return
    raise AssertionError("the deed never came to its end")


def check_after_failure(directory: Path, deed: str, returned: Any) -> None:
    again, ring = CheckpointRegistry(directory, max_snapshots=3), ResumeRing(directory)
    again.open()
    assert litter(directory) == []
    found = {s.sequence: s.eval_metrics.primary_score for s in again.snapshots()}
    assert not list(directory.glob("quarantine/*"))
    if isinstance(returned, PolicySnapshot):
        assert found[returned.sequence] == returned.eval_metrics.primary_score
    if deed != "prune":
        assert found.keys() >= {1, 2}
    assert found[1] in (3.0, 3.5)  # the best
    point = ring.newest()
    assert point is not None
    assert point.state["n"] in ((4,) if deed == "ring" and returned is not None else (2, 4))
    agent = BigAgent()
    again.load_best(agent)
    assert agent.weight in (3.0, 4.0)
    assert save_big(again, 5.0, 10).sequence == max(found) + 1  # and when the disk is well, it goes on
    assert again.load_best(agent).sequence == max(found) + 1
    assert ring.save(write_agent(5.0), {"n": 5}) == point.sequence + 1
    again.close()


def test_what_was_not_saved_is_not_found_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CheckpointRegistry(tmp_path)
    save_big(registry, 1.0)
    calls = 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if os.path.samestat(os.fstat(descriptor), tmp_path.stat()):  # the one after the rename
            raise OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(CheckpointStorageError, match="I/O error") as error:
            save_big(registry, 2.0)
    assert calls >= 4
    assert error.value.errno == errno.EIO
    assert [s.eval_metrics.primary_score for s in registry.snapshots()] == [1.0]
    assert litter(tmp_path) == []
    registry.close()


def test_a_saved_snapshot_is_one_even_if_the_manifest_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CheckpointRegistry(tmp_path, max_snapshots=1)
    save_big(registry, 1.0)

    def replace(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(os, "replace", replace)
        saved = save_big(registry, 2.0)
        with pytest.raises(CheckpointStorageError, match="No space left"):
            registry.prune()
    assert "could not prune" in caplog.text
    assert registry.snapshots() == [saved]  # the old one made room all the same
    registry.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE], ids=errno.errorcode.get)
def test_a_snapshot_that_cannot_be_read_is_passed_over_and_put_away_only_if_that_is_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    registry = CheckpointRegistry(tmp_path)
    next_best, best = save_big(registry, 1.0), save_big(registry, 2.0, 1)
    registry.close()
    bad = (registry.path_of(best) / "weights" / "agent.npy").stat().st_ino
    real = os.open

    def open_but_one(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        descriptor = real(path, flags, *args, **kwargs)
        if os.fstat(descriptor).st_ino == bad:
            os.close(descriptor)
            raise OSError(code, os.strerror(code))
        return descriptor

    monkeypatch.setattr(os, "open", open_but_one)
    assert registry.load_best(BigAgent()) == next_best
    registry.open()
    assert len(list(tmp_path.glob("quarantine/*"))) == (code == errno.EIO)
    registry.close()


def test_a_folder_that_cannot_even_be_looked_at_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CheckpointRegistry(tmp_path)
    next_best, best = save_big(registry, 1.0), save_big(registry, 2.0, 1)
    looks, real = 0, os.lstat

    def lstat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        nonlocal looks
        if str(path).endswith(best.snapshot_id) and (looks := looks + 1) > 2:  # when it is listed and ranked already
            raise OSError(errno.EIO, "I/O error")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "lstat", lstat)
    assert registry.load_best(BigAgent()) == next_best
    assert looks > 3
    registry.close()


# --- how long it takes ---


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[tuple[CheckpointRegistry, Path]]:
    registry = CheckpointRegistry(tmp_path)
    yield registry, registry.stage(BigAgent())
    registry.close()


def test_a_staged_policy_that_somebody_took_away_is_a_storage_error(staged: tuple[CheckpointRegistry, Path]) -> None:
    registry, folder = staged
    shutil.rmtree(folder)
    with pytest.raises(CheckpointStorageError, match="Could not save"):
        registry.commit(folder, EvalMetrics(1.0), 0, HyperparamSet({}))
    registry.discard(folder)  # harmless
