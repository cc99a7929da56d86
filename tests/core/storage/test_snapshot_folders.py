"""What of the snapshots is kept, what is damaged, and what becomes of it."""

import gc
import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.storage.resume_ring import ResumeRing
from tensor_optix.core.storage.snapshot_folders import LoneSnapshot, SnapshotFolders
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import (
    CheckpointCorruptError,
    CheckpointUnsafeError,
    InvalidArgumentError,
)
from tests.fakes.checkpoints import best_weight, litter, other_process, save, scores
from tests.fakes.damage import (
    DAMAGES,
    add_a_file,
    come_from_the_future,
    cut_the_metadata,
    flip_a_byte_of_the_weights,
    lose_the_weights,
)
from tests.helpers import NumpyAgent

# --- pruning ---


@pytest.mark.parametrize(
    ("saved", "keep", "left"),
    [
        ([1, 2, 3, 4], 2, [3, 4]),
        ([4, 1, 2, 3], 2, [4, 2, 3]),  # the best besides the newest
        ([1, 4, 2, 3], 1, [4, 3]),
        ([1, 2, 3], 1, [3]),
        ([5, 5, 5, 5], 2, [5, 5, 5]),  # the best of equals is the earliest
        ([math.nan, math.nan, math.nan], 2, [math.nan, math.nan]),
        ([1, 2], 10, [1, 2]),
    ],
)
def test_pruning_keeps_the_newest_and_always_the_best(
    directory: Path, saved: list[float], keep: int, left: list[float]
) -> None:
    registry = CheckpointRegistry(directory, max_snapshots=keep)
    for window_id, score in enumerate(saved):
        save(registry, score, window_id=window_id)
    assert scores(registry) == pytest.approx(left, nan_ok=True)
    manifest = json.loads((directory / "manifest.json").read_bytes())
    assert [entry["id"] for entry in manifest["snapshots"]] == [s.snapshot_id for s in registry.snapshots()]
    assert len(list(directory.glob("snapshot_*"))) == len(left)
    assert litter(directory) == []
    registry.close()


def test_the_best_ever_outlives_any_number_of_worse_ones(directory: Path) -> None:
    registry = CheckpointRegistry(directory, max_snapshots=1)
    for score in [7.0, *range(6)]:
        save(registry, score)
        assert best_weight(registry) == 7.0
    registry.close()


def test_at_least_one_snapshot_must_be_kept(directory: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="max_snapshots must be a whole number of at least 1, but got 0"):
        CheckpointRegistry(directory, max_snapshots=0)


# --- damage ---


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"best": "999999", "snapshots": []}', b"\xff"])
def test_a_lost_or_corrupted_manifest_changes_nothing(
    registry: CheckpointRegistry, directory: Path, content: bytes | None
) -> None:
    save(registry, 1.0)
    save(registry, 2.0)
    intact = (directory / "manifest.json").read_bytes()
    (directory / "manifest.json").unlink()
    if content is not None:
        (directory / "manifest.json").write_bytes(content)
    again = CheckpointRegistry(directory)
    assert scores(again) == [1.0, 2.0]
    assert best_weight(again) == 2.0
    best = again.best
    assert best is not None
    again.open()
    again.rescore(best, best.eval_metrics)  # the next write restores it
    assert (directory / "manifest.json").read_bytes() == intact
    again.close()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_best_is_reported_and_the_next_best_is_used(
    registry: CheckpointRegistry, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    save(registry, 1.0)
    next_best, best = save(registry, 2.0), save(registry, 3.0)
    damage(registry.path_of(best))
    agent = NumpyAgent()
    with caplog.at_level(logging.WARNING):
        assert registry.load_best(agent) == next_best
    assert agent.weight == 2.0
    assert agent.loaded == ["snapshot_000001"]  # the damaged one never reached the agent
    assert any("000002" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_snapshot_asked_for_by_name_is_refused_and_the_agent_untouched(
    registry: CheckpointRegistry, damage: Callable[[Path], None]
) -> None:
    snapshot = save(registry, 3.0)
    damage(registry.path_of(snapshot))
    agent = NumpyAgent()
    with pytest.raises(CheckpointCorruptError):
        registry.load(snapshot, agent)
    assert (agent.weight, agent.loaded) == (0.0, [])


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_only_when_none_is_intact_is_the_directory_corrupt(
    registry: CheckpointRegistry, damage: Callable[[Path], None]
) -> None:
    for snapshot in [save(registry, 1.0), save(registry, 2.0)]:
        damage(registry.path_of(snapshot))
        for stray in registry.directory.glob("elsewhere*"):
            stray.rename(stray.with_name(f"{snapshot.snapshot_id}-{stray.name}"))
    with pytest.raises(CheckpointCorruptError, match="holds no intact snapshot"):
        registry.load_best(NumpyAgent())


def test_the_names_of_the_damaged_files_are_reported(registry: CheckpointRegistry) -> None:
    snapshot = save(registry, 1.0)
    lose_the_weights(registry.path_of(snapshot))
    add_a_file(registry.path_of(snapshot))
    with pytest.raises(CheckpointCorruptError, match=r"weights/agent\.npy, weights/extra\.npy missing, changed"):
        registry.load(snapshot, NumpyAgent())


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_saving_goes_on_beside_a_damaged_snapshot_and_never_reuses_its_number(
    registry: CheckpointRegistry, damage: Callable[[Path], None]
) -> None:
    damage(registry.path_of(save(registry, 9.0)))
    assert save(registry, 1.0).snapshot_id == "000001"
    assert best_weight(registry) == 1.0


@pytest.mark.parametrize("name", ["snapshot_", "snapshot_UPPER", "snapshot_a b", "snapshot_..", f"snapshot_{'9' * 65}"])
def test_a_folder_with_a_name_that_is_no_id_is_ignored(
    registry: CheckpointRegistry, directory: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    save(registry, 1.0)
    (directory / name).mkdir()
    with caplog.at_level(logging.WARNING):
        assert scores(registry) == [1.0]
        assert save(registry, 2.0).snapshot_id == "000001"
    assert caplog.records == []
    assert (directory / name).is_dir()


def test_a_plain_file_with_the_name_of_a_snapshot_is_left_alone_and_saving_goes_on(
    registry: CheckpointRegistry, directory: Path
) -> None:
    directory.mkdir(parents=True)
    (directory / "snapshot_000000").write_text("the user's own")
    assert save(registry, 1.0).snapshot_id == "000001"
    assert best_weight(registry) == 1.0
    assert (directory / "snapshot_000000").read_text() == "the user's own"


def test_a_snapshot_folder_that_is_a_link_is_no_snapshot(registry: CheckpointRegistry, directory: Path) -> None:
    elsewhere = CheckpointRegistry(directory.parent / "elsewhere")
    _, foreign = save(elsewhere, 8.0), save(elsewhere, 9.0)
    elsewhere.close()
    own = save(registry, 1.0)
    (directory / "snapshot_000001").symlink_to(elsewhere.path_of(foreign))
    assert registry.snapshots() == [own]
    assert best_weight(registry) == 1.0
    assert save(registry, 2.0).snapshot_id == "000002"  # and its name is not taken from it


@pytest.mark.parametrize("snapshot_id", ["../outside", "", "A", "a/b", "a" * 65])
def test_an_id_that_could_lead_elsewhere_is_no_path(registry: CheckpointRegistry, snapshot_id: str) -> None:
    snapshot = PolicySnapshot(
        snapshot_id=snapshot_id,
        sequence=0,
        window_id=0,
        eval_metrics=EvalMetrics(1.0),
        hyperparams=HyperparamSet({}),
        created_at="",
    )
    with pytest.raises(CheckpointCorruptError, match="no snapshot id"):
        registry.path_of(snapshot)


# --- quarantine ---


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_next_writer_moves_a_damaged_snapshot_to_quarantine_and_says_so_once(
    registry: CheckpointRegistry, directory: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    intact = save(registry, 1.0)
    damage(registry.path_of(save(registry, 2.0)))
    registry.close()
    before = {path.name for path in directory.iterdir()}
    reader = CheckpointRegistry(directory)
    assert reader.load_best(NumpyAgent()) == intact
    assert {path.name for path in directory.iterdir()} == before  # a reader changes nothing
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            registry.open()
            assert registry.snapshots() == [intact]
            registry.close()
    assert len(caplog.records) == 1
    assert "000001" in caplog.records[0].getMessage()
    quarantined = [path.name for path in directory.glob("quarantine/*")]
    # What a later version wrote is of no use here, but not damaged.
    assert quarantined == ([] if damage is come_from_the_future else ["000000-snapshot_000001"])
    assert save(registry, 3.0).snapshot_id == "000002"


def test_a_reader_reports_a_damaged_snapshot_once(
    registry: CheckpointRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    cut_the_metadata(registry.path_of(save(registry, 1.0)))
    with caplog.at_level(logging.WARNING):
        assert [registry.snapshots() for _ in range(3)] == [[], [], []]
    assert len(caplog.records) == 1


def test_a_quarantine_that_is_a_link_is_refused_and_the_lock_given_back(
    registry: CheckpointRegistry, directory: Path, tmp_path: Path
) -> None:
    flip_a_byte_of_the_weights(registry.path_of(save(registry, 1.0)))
    registry.close()
    (directory / "quarantine").symlink_to(tmp_path)
    with pytest.raises(CheckpointUnsafeError, match="quarantine' is a link"):
        registry.open()
    with other_process(directory) as other:  # not "locked"
        assert "saved" not in other.communicate(timeout=60)[0]
    (directory / "quarantine").unlink()
    save(registry, 2.0)
    assert scores(registry) == [2.0]


# --- pins ---


def test_a_pinned_snapshot_outlives_better_and_newer_ones_until_it_is_unpinned(directory: Path) -> None:
    registry, other = CheckpointRegistry(directory, max_snapshots=1), CheckpointRegistry(directory)
    pinned = save(registry, 1.0)
    other.pin(pinned.snapshot_id)  # by whichever registry of this process
    for window_id in range(3):
        save(registry, 2.0 + window_id, window_id=window_id)
    assert scores(registry) == [1.0, 4.0]
    other.unpin(pinned.snapshot_id)
    other.unpin(pinned.snapshot_id)  # harmless
    registry.prune()
    assert scores(registry) == [4.0]
    with pytest.raises(CheckpointCorruptError, match="no folder"):
        registry.pin(pinned.snapshot_id)
    registry.close()


def test_pins_are_of_one_directory_and_end_with_their_registry(directory: Path, tmp_path: Path) -> None:
    registry, elsewhere = CheckpointRegistry(directory, max_snapshots=1), CheckpointRegistry(tmp_path / "elsewhere")
    save(elsewhere, 1.0)
    elsewhere.pin("000000")
    other = CheckpointRegistry(directory)
    first = save(registry, 1.0)
    save(registry, 2.0)
    assert scores(registry) == [2.0]
    other.pin("000001")
    assert save(registry, 3.0).sequence == first.sequence + 2
    assert scores(registry) == [2.0, 3.0]
    del other
    gc.collect()
    registry.prune()
    assert scores(registry) == [3.0]
    registry.close()
    elsewhere.close()


# --- the same again ---


def test_what_a_resumed_run_commits_again_is_not_saved_twice(registry: CheckpointRegistry, directory: Path) -> None:
    save(registry, 1.0, window_id=3)
    first = save(registry, 2.0, window_id=4)
    registry.close()
    again = CheckpointRegistry(directory)
    assert save(again, 2.0, window_id=4) == first
    assert save(again, math.nan, window_id=5) == save(again, math.nan, window_id=5)  # type: ignore[comparison-overlap]
    assert len(again.snapshots()) == 3
    assert litter(directory) == []
    again.close()


@pytest.mark.parametrize(
    "other", [{"score": 3.0}, {"weight": 0.5}, {"window_id": 5}], ids=lambda other: next(iter(other))
)
def test_what_differs_in_anything_is_a_separate_snapshot(registry: CheckpointRegistry, other: dict[str, Any]) -> None:
    same = {"score": 2.0, "weight": 2.0, "window_id": 4}
    first = save(registry, **same)
    assert save(registry, **{**same, **other}).sequence == first.sequence + 1
    assert save(registry, **same).sequence == first.sequence + 2  # only the newest counts


def test_a_damaged_twin_is_no_twin(registry: CheckpointRegistry) -> None:
    flip_a_byte_of_the_weights(registry.path_of(save(registry, 2.0)))
    assert save(registry, 2.0).sequence == 1
    assert best_weight(registry) == 2.0


# --- tests that a resumed run makes again ---


class TestGoingBack:
    @pytest.fixture
    def ring(self, directory: Path) -> ResumeRing:
        return ResumeRing(directory)

    @staticmethod
    def keep(ring: ResumeRing) -> int:
        return ring.save(lambda folder: None, {})

    def test_what_was_tested_since_a_state_was_saved_is_undone(
        self, registry: CheckpointRegistry, ring: ResumeRing
    ) -> None:
        snapshot = save(registry, 1.0)
        first = self.keep(ring)
        for score in (5.0, 6.0):
            registry.rescore(snapshot, EvalMetrics(score))
        second = self.keep(ring)
        for score in (7.0, 8.0):
            registry.rescore(snapshot, EvalMetrics(score))
        registry.go_back_to(second)
        assert scores(registry) == [6.0]
        registry.go_back_to(first)  # it knows of one state only
        assert scores(registry) == [6.0]

    def test_all_tests_since_then_are_undone_at_once(self, registry: CheckpointRegistry, ring: ResumeRing) -> None:
        damaged, _, snapshot = save(registry, 0.5), save(registry, 0.0), save(registry, 1.0)
        cut_the_metadata(registry.path_of(damaged))
        point = self.keep(ring)
        for score in (5.0, 6.0):
            registry.rescore(snapshot, EvalMetrics(score))
        registry.go_back_to(point)
        assert scores(registry) == [0.0, 1.0]
        listed = json.loads((registry.directory / "manifest.json").read_bytes())["snapshots"]
        assert [entry["score"] for entry in listed] == [0.0, 1.0]

    def test_what_was_tested_before_stays(self, registry: CheckpointRegistry, ring: ResumeRing) -> None:
        snapshot, other = save(registry, 1.0), save(registry, 2.0)
        self.keep(ring)
        registry.rescore(snapshot, EvalMetrics(5.0))
        cut_the_metadata(registry.path_of(other))  # a damaged one is in nobody's way
        registry.go_back_to(self.keep(ring))
        assert scores(registry) == [5.0]

    def test_without_a_saved_state_there_is_nothing_to_go_back_to(self, registry: CheckpointRegistry) -> None:
        registry.rescore(save(registry, 1.0), EvalMetrics(5.0))
        registry.go_back_to(0)
        assert scores(registry) == [5.0]

    def test_a_disk_that_refuses_is_reported_and_the_run_goes_on(
        self,
        registry: CheckpointRegistry,
        ring: ResumeRing,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        snapshot = save(registry, 1.0)
        point = self.keep(ring)
        registry.rescore(snapshot, EvalMetrics(5.0))

        def full(*args: Any, **options: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(atomic, "replace_file", full)
        registry.go_back_to(point)
        assert scores(registry) == [5.0]
        assert "could not be undone" in caplog.records[-1].getMessage()


# --- what is read ---


def test_a_directory_whose_folders_vanish_again_and_again_is_given_up(
    registry: CheckpointRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    intact = save(registry, 1.0)
    cut_the_metadata(registry.path_of(save(registry, 2.0)))
    monkeypatch.setattr(tree, "is_gone", lambda folder: True)
    assert registry.snapshots() == [intact]
    assert caplog.records == []
    flip_a_byte_of_the_weights(registry.path_of(intact))
    with pytest.raises(CheckpointCorruptError, match="holds no intact snapshot"):
        registry.load_best(NumpyAgent())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "does not have the expected fields"),
        ({"snapshot": {"snapshot_id": "000000"}}, "missing required field"),
        ({"snapshot": 3}, "Expected `object`, got `int`"),
    ],
)
def test_a_snapshot_whose_description_lacks_something_is_damaged(
    directory: Path, content: dict[str, object], reason: str
) -> None:
    folders = SnapshotFolders(directory, lambda snapshots: list(snapshots))
    directory.mkdir(parents=True)
    folders.seal(folders.stage(), 0, content)
    with pytest.raises(CheckpointCorruptError, match=reason):
        folders.snapshot(0)


def test_a_description_of_another_snapshot_is_damaged(registry: CheckpointRegistry, directory: Path) -> None:
    folders, other = SnapshotFolders(directory, lambda snapshots: list(snapshots)), save(registry, 1.0)
    folders.seal(folders.stage(), 1, {"snapshot": other.to_dict()})
    with pytest.raises(CheckpointCorruptError, match="belongs to snapshot '000000'"):
        folders.snapshot(1)


class TestLoneSnapshot:
    def test_it_is_read_wherever_it_was_copied_to(self, registry: CheckpointRegistry, tmp_path: Path) -> None:
        save(registry, 1.0)
        snapshot = save(registry, 2.0)
        copied = shutil.copytree(registry.path_of(snapshot), tmp_path / "policy")
        lone = LoneSnapshot(copied)
        assert lone.sequence == 1
        assert lone.snapshot(lone.sequence) == snapshot
        assert lone.verify(lone.sequence)["files"].keys() == {"weights/agent.npy"}
        flip_a_byte_of_the_weights(copied)
        with pytest.raises(CheckpointCorruptError):
            lone.verify(lone.sequence)

    @pytest.mark.parametrize("number", [None, "1", 1.5, True])
    def test_without_a_number_it_is_damaged(self, tmp_path: Path, number: Any) -> None:
        (tmp_path / "metadata.json").write_bytes(atomic.encode_json({"sequence": number}))
        with pytest.raises(CheckpointCorruptError, match=r"has the number .*, which is none"):
            LoneSnapshot(tmp_path)


# --- what a process that died has left ---


def test_unfinished_writes_of_any_kind_go_when_a_process_begins_to_write(
    registry: CheckpointRegistry, directory: Path
) -> None:
    save(registry, 1.0)
    registry.close()
    left = [".tmp-snapshot_000001-1", ".trash-snapshot_000000", ".tmp-resume_000001-1", ".tmp-run.json"]
    for name in (*left, ".tmp-mine"):
        (directory / name).mkdir()
    assert registry.snapshots() != []  # a reader leaves them
    assert len(litter(directory)) == 5
    registry.open()
    assert litter(directory) == [".tmp-mine"]
