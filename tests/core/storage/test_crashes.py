"""A crash at any step of a write loses no earlier snapshot."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import (
    CheckpointStorageError,
)
from tests.fakes.checkpoints import best_weight, litter, save, scores
from tests.helpers import NumpyAgent


class Crash(BaseException):
    """What `kill -9` is to the code that it hits."""


STEPS: list[tuple[Any, str]] = [
    (os, "rename"),
    (os, "replace"),
    (os, "fsync"),
    (tree, "remove"),
    (tree, "sync"),
    (tree, "checksums"),
    (atomic, "write_file"),
    (atomic, "fsync_directory"),
]


class CrashAt:
    """Lets the first `n` of the listed steps happen and crashes before the next, or half-way through a write."""

    def __init__(self, n: int, patch: pytest.MonkeyPatch, *, half_way: bool) -> None:
        self.left = n
        patch.setattr(tree, "AT_ONCE", 1)  # the steps are counted
        for owner, name in STEPS:
            patch.setattr(owner, name, self._wrap(getattr(owner, name), half_way))

    def _wrap(self, real: Callable[..., Any], half_way: bool) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                self.left = -1
                if half_way:
                    self._do_half(real, *args)
                raise Crash
            self.left -= 1
            return real(*args, **kwargs)

        return step

    @staticmethod
    def _do_half(real: Callable[..., Any], *args: Any) -> None:
        if real.__name__ == "write_file":
            Path(args[0]).write_bytes(args[1][: len(args[1]) // 2])
        elif real.__name__ == "remove" and (inner := [path for path in Path(args[0]).rglob("*") if path.is_file()]):
            inner[0].unlink()


def crash_at_every_step(
    monkeypatch: pytest.MonkeyPatch, prepare: Callable[[int], CheckpointRegistry], deed: Callable[..., Any]
) -> Iterator[CheckpointRegistry]:
    """Yield a registry after each possible crash of `deed`, until it runs through."""
    for n in range(200):
        for half_way in (False, True):
            registry = prepare(2 * n + half_way)
            finished = False
            with monkeypatch.context() as patch:
                CrashAt(n, patch, half_way=half_way)
                try:
                    deed(registry)
                    finished = True
                except Crash:
                    pass
            registry.close()
            yield registry
            if finished:
                assert n > 5, "hardly any step was found to crash at"
                return
    raise AssertionError("the deed never came to its end")


def test_a_crash_at_any_step_of_a_save_loses_no_earlier_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(n: int) -> CheckpointRegistry:
        registry = CheckpointRegistry(tmp_path / str(n), max_snapshots=2)
        save(registry, 1.0)
        save(registry, 3.0)
        save(registry, 2.0)  # 3.0 and 2.0 are left
        return registry

    # The new best makes the pruning throw 3.0 away, so that the deed has every kind of step.
    for crashed in crash_at_every_step(monkeypatch, prepare, lambda registry: save(registry, 4.0)):
        again = CheckpointRegistry(crashed.directory, max_snapshots=2)
        again.open()
        assert litter(again.directory) == []
        found = scores(again)
        assert found in ([3.0, 2.0], [3.0, 2.0, 4.0], [2.0, 4.0])
        assert len(list(again.directory.glob("snapshot_*"))) == len(found)  # half a folder never looks like a snapshot
        assert best_weight(again) == max(found)
        for snapshot in again.snapshots():
            again.load(snapshot, NumpyAgent())
        save(again, 5.0)  # and it goes on
        assert best_weight(again) == 5.0
        assert len(again.snapshots()) == 2
        again.close()


def test_a_crash_at_any_step_of_a_rescore_leaves_every_snapshot_loadable_with_the_old_score_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(n: int) -> CheckpointRegistry:
        registry = CheckpointRegistry(tmp_path / str(n))
        save(registry, 9.0)
        save(registry, 5.0)
        return registry

    def rescore(registry: CheckpointRegistry) -> None:
        registry.rescore(registry.snapshots()[0], EvalMetrics(1.0))

    for crashed in crash_at_every_step(monkeypatch, prepare, rescore):
        for snapshot in crashed.snapshots():
            crashed.load(snapshot, NumpyAgent())
        assert scores(crashed) in ([9.0, 5.0], [1.0, 5.0])
        rescore(crashed)  # and it can be done again
        assert scores(crashed) == [1.0, 5.0]
        assert best_weight(crashed) == 5.0
        assert litter(crashed.directory) == []
        crashed.close()


def test_a_crash_at_any_step_of_an_archive_loses_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(n: int) -> CheckpointRegistry:
        registry = CheckpointRegistry(tmp_path / str(n))
        for score in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
            save(registry, score)
        return registry

    for crashed in crash_at_every_step(monkeypatch, prepare, CheckpointRegistry.archive):
        again = CheckpointRegistry(crashed.directory)
        again.archive()
        found = [scores(CheckpointRegistry(folder)) for folder in sorted(crashed.directory.glob("previous_*"))]
        assert sorted(score for run in found for score in run) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert again.snapshots() == []
        again.close()


def test_a_full_disk_while_saving_is_a_storage_error_and_loses_no_earlier_snapshot(
    registry: CheckpointRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(registry, 1.0)

    def full(path: Path, data: bytes, *, sync: bool = True) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_file", full)
        with pytest.raises(CheckpointStorageError, match="No space left on device"):
            save(registry, 2.0)
    assert best_weight(registry) == 1.0
    assert save(registry, 3.0).sequence == 1
    assert litter(registry.directory) == []
