import dataclasses
import gc
import itertools
import json
import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    CheckpointError,
    CheckpointLockedError,
    CheckpointStorageError,
    CheckpointUnsafeError,
    InvalidArgumentError,
)
from tests.helpers import NumpyAgent

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes most of the time, and nothing but a power cut could show the difference.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


@pytest.fixture
def registry(directory: Path) -> Iterator[CheckpointRegistry]:
    registry = CheckpointRegistry(directory, now=lambda: NOW)
    yield registry
    registry.close()


def save(registry: CheckpointRegistry, score: float, weight: float | None = None, window_id: int = 0) -> PolicySnapshot:
    agent = NumpyAgent()
    agent.weight = score if weight is None else weight
    return registry.save(agent, EvalMetrics(score, {"score_std_err": 0.5}, window_id), window_id)


def scores(registry: CheckpointRegistry) -> list[float]:
    return [snapshot.eval_metrics.primary_score for snapshot in registry.snapshots()]


def best_weight(registry: CheckpointRegistry) -> float:
    agent = NumpyAgent()
    registry.load_best(agent)
    return agent.weight


def litter(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith((".tmp-", ".trash-"))]


# --- the layout on disk ---


def test_the_layout_is_a_manifest_and_a_folder_of_metadata_and_weights_per_snapshot(
    registry: CheckpointRegistry, directory: Path
) -> None:
    save(registry, 1.0, window_id=3)
    save(registry, 2.0, window_id=5)
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    assert files - {".lock"} == {
        "manifest.json",
        "snapshot_000000/metadata.json",
        "snapshot_000000/weights/agent.npy",
        "snapshot_000001/metadata.json",
        "snapshot_000001/weights/agent.npy",
    }
    assert json.loads((directory / "manifest.json").read_bytes()) == {
        "format": 1,
        "best": "000001",
        "snapshots": [
            {"id": "000000", "window_id": 3, "score": 1.0},
            {"id": "000001", "window_id": 5, "score": 2.0},
        ],
    }
    assert str(directory).encode() not in b"".join(path.read_bytes() for path in directory.rglob("*.json"))


def test_the_metadata_say_what_was_saved_and_the_checksum_of_each_file(
    registry: CheckpointRegistry, directory: Path
) -> None:
    snapshot = save(registry, 1.5, window_id=3)
    metadata = json.loads((directory / "snapshot_000000" / "metadata.json").read_bytes())
    assert PolicySnapshot.from_dict(metadata["snapshot"]) == snapshot
    weights = directory / "snapshot_000000" / "weights"
    assert metadata["files"] == {f"weights/{name}": sums for name, sums in tree.checksums(weights).items()}


def test_a_snapshot_says_what_it_scored_and_what_it_was_trained_with(registry: CheckpointRegistry) -> None:
    agent = NumpyAgent(learning_rate=0.25)
    metrics = EvalMetrics(1.5, {"episodes": 3.0}, 7)
    snapshot = registry.save(agent, metrics, 7)
    assert snapshot.eval_metrics == metrics
    assert snapshot.hyperparams == HyperparamSet({"learning_rate": 0.25})
    assert (snapshot.snapshot_id, snapshot.sequence, snapshot.window_id) == ("000000", 0, 7)
    assert snapshot.created_at == "2024-05-06T07:08:09+00:00"
    assert registry.snapshots() == [snapshot]
    assert registry.path_of(snapshot) == registry.directory / "snapshot_000000"


def test_the_hyperparams_of_the_snapshot_are_those_given_and_later_changes_do_not_reach_them(
    registry: CheckpointRegistry,
) -> None:
    lived_with = HyperparamSet({"learning_rate": 0.5}, 3)
    snapshot = registry.save(NumpyAgent(), EvalMetrics(1.0), 4, lived_with)
    lived_with.params["learning_rate"] = 9.0
    assert snapshot.hyperparams == registry.snapshots()[0].hyperparams == HyperparamSet({"learning_rate": 0.5}, 3)


def test_words_arrays_and_missing_numbers_are_saved_as_plain_values(registry: CheckpointRegistry) -> None:
    metrics = EvalMetrics(1.0, {"phase": "warm-up", "loss": math.nan})  # type: ignore[dict-item]
    params = {"arch": np.array([64, 32]), "nested": {"limit": math.nan, "betas": (0.9, [math.inf, np.float32(0.5)])}}
    registry.save(NumpyAgent(), metrics, 0, HyperparamSet(params))
    (found,) = registry.snapshots()
    assert found.eval_metrics.metrics["phase"] == "warm-up"
    assert math.isnan(found.eval_metrics.metrics["loss"])
    assert found.hyperparams.params == {"arch": [64, 32], "nested": {"limit": None, "betas": [0.9, [None, 0.5]]}}
    assert best_weight(registry) == 0.0


def test_a_metric_that_json_has_no_word_for_is_refused_and_nothing_is_left_or_changed(
    registry: CheckpointRegistry,
) -> None:
    earlier = save(registry, 1.0)
    unspeakable = EvalMetrics(2.0, {"model": object()})  # type: ignore[dict-item]
    before = {path: path.read_bytes() for path in registry.directory.rglob("*.json")}
    with pytest.raises(BadDataError, match="object"):
        registry.save(NumpyAgent(), unspeakable)
    with pytest.raises(BadDataError, match="object"):
        registry.rescore(earlier, unspeakable)
    assert {path: path.read_bytes() for path in registry.directory.rglob("*.json")} == before
    assert litter(registry.directory) == []
    assert registry.snapshots() == [earlier]


# --- save, load, best ---


def test_what_was_saved_is_what_is_loaded(registry: CheckpointRegistry) -> None:
    first, second = save(registry, 1.0, weight=10.0), save(registry, 2.0, weight=20.0)
    agent = NumpyAgent()
    registry.load(first, agent)
    assert agent.weight == 10.0
    registry.load(second, agent)
    assert agent.weight == 20.0


@pytest.mark.parametrize(
    ("saved", "ranking"),
    [
        ([1.0, 3.0, 2.0], [1, 2, 0]),
        ([-3.0, -1.0, -2.0], [1, 2, 0]),
        ([2.0, 2.0, 2.0], [0, 1, 2]),  # of equals the earlier
        ([1.0, 2.0, 2.0], [1, 2, 0]),
        ([math.nan, 1.0, math.inf], [1]),  # what is no finite score is no rank
        ([math.nan], []),
        ([], []),
    ],
)
def test_the_best_is_the_highest_score_and_of_equals_the_earlier(
    registry: CheckpointRegistry, saved: list[float], ranking: list[int]
) -> None:
    snapshots = [save(registry, score, weight=0.0, window_id=n) for n, score in enumerate(saved)]
    assert [snapshot.sequence for snapshot in registry.ranked_snapshots] == ranking
    best = registry.best
    assert (best.snapshot_id if best else None) == (snapshots[ranking[0]].snapshot_id if ranking else None)


def test_a_score_without_evidence_is_never_the_best(registry: CheckpointRegistry) -> None:
    registry.save(NumpyAgent(), EvalMetrics(1e9, has_evidence=False))
    assert registry.best is None
    save(registry, -5.0)
    assert best_weight(registry) == -5.0


def test_load_best_returns_the_snapshot_it_loaded(registry: CheckpointRegistry) -> None:
    save(registry, 1.0)
    best = save(registry, 3.0)
    save(registry, 2.0)
    agent = NumpyAgent()
    assert registry.load_best(agent) == best
    assert agent.weight == 3.0


def test_reading_needs_no_lock_and_makes_no_directory(directory: Path) -> None:
    registry = CheckpointRegistry(directory)
    assert registry.snapshots() == []
    assert registry.best is None
    with pytest.raises(CheckpointCorruptError, match="no intact snapshot"):
        registry.load_best(NumpyAgent())
    assert not directory.exists()


def test_a_moved_directory_still_loads_and_goes_on(registry: CheckpointRegistry, directory: Path) -> None:
    save(registry, 1.0)
    save(registry, 2.0)
    registry.close()
    moved = directory.parent / "elsewhere"
    shutil.move(directory, moved)
    again = CheckpointRegistry(moved)
    assert best_weight(again) == 2.0
    assert save(again, 3.0).sequence == 2
    again.close()


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


def flip_a_byte_of_the_weights(snapshot: Path) -> None:
    weights = snapshot / "weights" / "agent.npy"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def lose_the_weights(snapshot: Path) -> None:
    (snapshot / "weights" / "agent.npy").unlink()


def cut_the_weights(snapshot: Path) -> None:
    weights = snapshot / "weights" / "agent.npy"
    weights.write_bytes(weights.read_bytes()[:-1])


def add_a_file(snapshot: Path) -> None:
    (snapshot / "weights" / "extra.npy").write_bytes(b"")


def link_the_weights_elsewhere(snapshot: Path) -> None:
    weights = snapshot / "weights" / "agent.npy"
    shutil.move(weights, snapshot.parent / "elsewhere.npy")
    weights.symlink_to(snapshot.parent / "elsewhere.npy")


def link_the_metadata_elsewhere(snapshot: Path) -> None:
    shutil.move(snapshot / "metadata.json", snapshot.parent / "elsewhere.json")
    (snapshot / "metadata.json").symlink_to(snapshot.parent / "elsewhere.json")


def lose_the_metadata(snapshot: Path) -> None:
    (snapshot / "metadata.json").unlink()


def edit_the_score(snapshot: Path) -> None:
    metadata = json.loads((snapshot / "metadata.json").read_bytes())
    metadata["snapshot"]["eval_metrics"]["primary_score"] = 1e9
    (snapshot / "metadata.json").write_text(json.dumps(metadata))


def edit_a_checksum(snapshot: Path) -> None:
    metadata = json.loads((snapshot / "metadata.json").read_bytes())
    metadata["files"]["weights/agent.npy"]["sha256"] = "0" * 64
    (snapshot / "metadata.json").write_text(json.dumps(metadata))


def cut_the_metadata(snapshot: Path) -> None:
    metadata = (snapshot / "metadata.json").read_bytes()
    (snapshot / "metadata.json").write_bytes(metadata[: len(metadata) // 2])


def empty_the_metadata(snapshot: Path) -> None:
    (snapshot / "metadata.json").write_bytes(b"{}")


def resign(snapshot: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the metadata as somebody would who knows the format."""
    metadata = json.loads((snapshot / "metadata.json").read_bytes())
    del metadata["sha256"]
    change(metadata)
    metadata["sha256"] = atomic.digest_of(metadata)
    (snapshot / "metadata.json").write_bytes(atomic.encode_json(metadata))


def come_from_the_future(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata.update(format=2))


def bear_another_name(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata["snapshot"].update(snapshot_id="../../etc"))


def lack_a_field(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata["snapshot"].pop("window_id"))


def list_files_as_text(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata.update(files="weights/agent.npy"))


DAMAGES = [
    flip_a_byte_of_the_weights,
    lose_the_weights,
    cut_the_weights,
    add_a_file,
    link_the_weights_elsewhere,
    link_the_metadata_elsewhere,
    lose_the_metadata,
    edit_the_score,
    edit_a_checksum,
    cut_the_metadata,
    empty_the_metadata,
    come_from_the_future,
    bear_another_name,
    lack_a_field,
    list_files_as_text,
]


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


# --- stage, commit, discard ---


def test_a_staged_policy_is_the_one_of_that_moment_and_no_snapshot_before_its_commit(
    registry: CheckpointRegistry,
) -> None:
    agent = NumpyAgent()
    agent.weight = 1.0
    staged = registry.stage(agent)
    agent.weight = 2.0  # it learns on while its score is being found
    assert registry.snapshots() == []
    committed = registry.commit(staged, EvalMetrics(5.0), 3, HyperparamSet({"learning_rate": 0.5}))
    assert registry.snapshots() == [committed]
    assert committed.hyperparams.params == {"learning_rate": 0.5}
    assert best_weight(registry) == 1.0
    assert litter(registry.directory) == []


def test_a_discarded_policy_leaves_nothing_and_discarding_again_is_harmless(registry: CheckpointRegistry) -> None:
    staged = registry.stage(NumpyAgent())
    registry.discard(staged)
    registry.discard(staged)
    assert registry.snapshots() == []
    assert litter(registry.directory) == []


def test_discarding_after_the_commit_leaves_the_snapshot(registry: CheckpointRegistry) -> None:
    staged = registry.stage(NumpyAgent())
    committed = registry.commit(staged, EvalMetrics(1.0), 0, HyperparamSet({}))
    registry.discard(staged)
    assert registry.load_best(NumpyAgent()) == committed


@pytest.mark.parametrize("by_another_registry", [False, True], ids=["the same", "another"])
def test_opening_and_saving_in_the_same_process_leave_a_staged_policy_alone(
    registry: CheckpointRegistry, directory: Path, by_another_registry: bool
) -> None:
    agent = NumpyAgent()
    agent.weight = 1.0
    staged = registry.stage(agent)
    other = CheckpointRegistry(directory) if by_another_registry else registry
    other.open()
    save(other, 2.0)
    committed = registry.commit(staged, EvalMetrics(5.0), 0, HyperparamSet({}))
    assert registry.load_best(agent) == committed
    assert agent.weight == 1.0
    other.close()


def test_leftovers_of_an_interrupted_write_are_cleared_when_the_directory_is_opened(
    registry: CheckpointRegistry, directory: Path
) -> None:
    save(registry, 1.0)
    registry.close()
    for name in (".tmp-snapshot_77-7", ".trash-snapshot_000003"):
        (directory / name / "weights").mkdir(parents=True)
        (directory / name / "weights" / "agent.npy").write_bytes(b"half")
    (directory / ".tmp-manifest.json").write_bytes(b'{"best":')
    own = ("keep.txt", ".tmp-notes", ".trash-old", ".tmp-thesis.json")
    for name in own:
        (directory / name).write_text("the user's own")
    again = CheckpointRegistry(directory)
    again.open()
    assert sorted(litter(directory)) == sorted(name for name in own if name.startswith("."))
    assert all((directory / name).exists() for name in own)
    assert scores(again) == [1.0]
    again.close()


def test_a_leftover_that_is_a_link_is_removed_and_what_it_points_to_is_not(
    registry: CheckpointRegistry, directory: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    directory.mkdir(parents=True)
    (directory / ".tmp-snapshot_1-1").symlink_to(precious)
    registry.open()
    assert litter(directory) == []
    assert (precious / "data").exists()


class Silent(NumpyAgent):
    def save_weights(self, path: str) -> None:
        """Write nothing."""


class FolderAgent(NumpyAgent):
    def save_weights(self, path: str) -> None:
        Path(path, "deep").mkdir(parents=True)
        Path(path, "deep", "weight").write_text(str(self.weight))

    def load_weights(self, path: str) -> None:
        self.weight = float(Path(path, "deep", "weight").read_text())


class EmptyFolder(NumpyAgent):
    def save_weights(self, path: str) -> None:
        Path(path).mkdir()


def test_an_agent_that_makes_only_an_empty_folder_is_named_and_leaves_nothing(registry: CheckpointRegistry) -> None:
    with pytest.raises(CheckpointError, match=r"EmptyFolder\.save_weights\(path\) wrote no file"):
        registry.save(EmptyFolder(), EvalMetrics(1.0))
    assert registry.snapshots() == []
    assert litter(registry.directory) == []


def test_an_agent_that_writes_nothing_is_named(registry: CheckpointRegistry) -> None:
    with pytest.raises(CheckpointError, match=r"Silent\.save_weights\(path\) wrote no file"):
        registry.save(Silent(), EvalMetrics(1.0))
    assert registry.snapshots() == []


def test_an_agent_may_write_a_whole_folder(registry: CheckpointRegistry) -> None:
    agent, other = FolderAgent(), FolderAgent()
    agent.weight = 4.5
    snapshot = registry.save(agent, EvalMetrics(1.0))
    registry.load(snapshot, other)
    assert other.weight == 4.5
    (registry.path_of(snapshot) / "weights" / "agent" / "deep" / "weight").write_text("4.6")
    with pytest.raises(CheckpointCorruptError, match="weights/agent/deep/weight"):
        registry.load(snapshot, other)


def test_an_agent_that_fails_while_saving_leaves_the_earlier_snapshots_usable(registry: CheckpointRegistry) -> None:
    class Failing(NumpyAgent):
        def save_weights(self, path: str) -> None:
            super().save_weights(path)
            raise RuntimeError("out of luck")

    save(registry, 1.0)
    with pytest.raises(RuntimeError, match="out of luck"):
        registry.save(Failing(), EvalMetrics(9.0))
    assert scores(registry) == [1.0]
    assert save(registry, 2.0).sequence == 1
    assert litter(registry.directory) == []


# --- rescore ---


def test_rescoring_changes_the_ranking_and_the_snapshot_still_verifies(registry: CheckpointRegistry) -> None:
    lucky, solid = save(registry, 9.0), save(registry, 5.0)
    rescored = registry.rescore(lucky, EvalMetrics(1.0, {"episodes": 100.0}, 4))
    assert rescored.eval_metrics == EvalMetrics(1.0, {"episodes": 100.0}, 4)
    assert (rescored.snapshot_id, rescored.sequence, rescored.window_id) == (lucky.snapshot_id, 0, 0)
    assert registry.ranked_snapshots == [solid, rescored]
    assert json.loads((registry.directory / "manifest.json").read_bytes())["best"] == solid.snapshot_id
    agent = NumpyAgent()
    registry.load(rescored, agent)
    assert agent.weight == 9.0
    assert best_weight(registry) == 5.0


def test_a_rescored_best_may_be_pruned_like_any_other(directory: Path) -> None:
    registry = CheckpointRegistry(directory, max_snapshots=1)
    old, new = save(registry, 9.0), save(registry, 5.0)
    registry.rescore(old, EvalMetrics(1.0))
    assert len(registry.snapshots()) == 2  # another rescore may yet make it the best again
    registry.prune()
    assert registry.snapshots() == [new]
    registry.close()


def test_a_snapshot_with_damaged_metadata_cannot_be_rescored(registry: CheckpointRegistry) -> None:
    snapshot = save(registry, 1.0)
    cut_the_metadata(registry.path_of(snapshot))
    with pytest.raises(CheckpointCorruptError):
        registry.rescore(snapshot, EvalMetrics(2.0))


def test_rescoring_does_not_bless_changed_weights(registry: CheckpointRegistry) -> None:
    snapshot = save(registry, 1.0)
    flip_a_byte_of_the_weights(registry.path_of(snapshot))
    rescored = registry.rescore(snapshot, EvalMetrics(2.0))
    with pytest.raises(CheckpointCorruptError, match=r"agent\.npy"):
        registry.load(rescored, NumpyAgent())


# --- archive ---


def test_archiving_moves_an_earlier_run_away_and_the_next_one_starts_from_nothing(
    registry: CheckpointRegistry, directory: Path
) -> None:
    for run in range(3):
        save(registry, 10.0 - run)
        (directory / "history.jsonl").write_text(f"{run}\n")
        (directory / "report.json").write_text("{}")
        assert registry.archive() == directory / f"previous_{run:03d}"
        assert registry.snapshots() == []
        assert {path.name for path in directory.iterdir()} - {".lock"} == {f"previous_{n:03d}" for n in range(run + 1)}
    for run in range(3):
        earlier = CheckpointRegistry(directory / f"previous_{run:03d}")
        assert best_weight(earlier) == 10.0 - run
        assert (earlier.directory / "history.jsonl").read_text() == f"{run}\n"
    assert save(registry, 1.0).sequence == 0


@pytest.mark.parametrize("step", ["rename", "fsync"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_archive_that_fails_moves_nothing_and_the_next_does_it_all(
    registry: CheckpointRegistry, directory: Path, monkeypatch: pytest.MonkeyPatch, step: str, n: int
) -> None:
    for score in (1.0, 2.0):
        save(registry, score)
    calls, real, before = itertools.count(1), getattr(os, step), sorted(directory.iterdir())

    def fail(*args: Any) -> None:
        if next(calls) == n:
            raise OSError(5, "Input/output error")
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(CheckpointStorageError, match="Input/output error"):
            registry.archive()
    assert sorted(directory.iterdir()) == before
    archived = registry.archive()
    assert archived is not None
    assert scores(CheckpointRegistry(archived)) == [1.0, 2.0]


def test_there_is_nothing_to_archive_in_a_new_directory(registry: CheckpointRegistry, directory: Path) -> None:
    assert registry.archive() is None
    assert {path.name for path in directory.iterdir()} <= {".lock"}


def test_archiving_leaves_the_users_own_files(registry: CheckpointRegistry, directory: Path) -> None:
    save(registry, 1.0)
    (directory / "notes.txt").write_text("mine")
    registry.archive()
    assert (directory / "notes.txt").read_text() == "mine"


def test_resume_points_and_quarantine_belong_to_the_run(registry: CheckpointRegistry, directory: Path) -> None:
    ring = ResumeRing(directory)
    for n in range(2):
        ring.save(lambda folder: None, {"n": n})
    ring.begin(ResumePoint(1, directory, {}))
    flip_a_byte_of_the_weights(registry.path_of(save(registry, 1.0)))
    registry.close()
    registry.open()  # which puts it in quarantine
    (directory / "resume_notes.txt").write_text("mine")
    archived = registry.archive()
    assert archived is not None
    assert ring.newest() is None
    assert {path.name for path in directory.iterdir()} - {".lock"} == {"previous_000", "resume_notes.txt"}
    assert {path.name for path in archived.iterdir()} >= {"quarantine", "resume_attempts.json"}
    point = ResumeRing(archived).newest()
    assert point is not None
    assert point.state == {"n": 1}


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
def test_what_differs_in_anything_is_a_snapshot_of_its_own(registry: CheckpointRegistry, other: dict[str, Any]) -> None:
    same = {"score": 2.0, "weight": 2.0, "window_id": 4}
    first = save(registry, **same)
    assert save(registry, **{**same, **other}).sequence == first.sequence + 1
    assert save(registry, **same).sequence == first.sequence + 2  # only the newest counts


def test_a_damaged_twin_is_no_twin(registry: CheckpointRegistry) -> None:
    flip_a_byte_of_the_weights(registry.path_of(save(registry, 2.0)))
    assert save(registry, 2.0).sequence == 1
    assert best_weight(registry) == 2.0


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

OTHER_PROCESS = """
import sys
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointLockedError
from tests.helpers import NumpyAgent
registry = CheckpointRegistry(sys.argv[1])
try:
    registry.save(NumpyAgent(), EvalMetrics(7.0))
    print("saved", flush=True)
except CheckpointLockedError as error:
    print("locked", len(registry.snapshots()), flush=True)
if "hold" in sys.argv:
    sys.stdin.read()
"""


def other_process(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", OTHER_PROCESS, str(directory), *arguments],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


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


def test_neither_a_commit_nor_a_rescore_goes_past_another_process_that_has_the_lock(
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


def test_closing_is_harmless_at_any_time_and_a_later_write_opens_again(registry: CheckpointRegistry) -> None:
    registry.close()
    save(registry, 1.0)
    registry.close()
    registry.close()
    save(registry, 2.0)
    assert scores(registry) == [1.0, 2.0]


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_directory_that_cannot_be_written_is_a_storage_error_that_names_it(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    registry = CheckpointRegistry(tmp_path / "file" / below)
    with pytest.raises(CheckpointStorageError, match="Could not create") as error:
        save(registry, 1.0)
    assert str(tmp_path / "file") in str(error.value)


# --- crashes ---


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


def test_the_scores_of_a_new_era_rank_before_all_older_ones(registry: CheckpointRegistry) -> None:
    agent = NumpyAgent()
    old = [registry.save(agent, EvalMetrics(score)) for score in (5.0, 9.0)]
    registry.era = 1
    new = [registry.save(agent, EvalMetrics(score)) for score in (1.0, 2.0)]
    assert registry.ranked_snapshots == [new[1], new[0], old[1], old[0]]
    assert [snapshot.era for snapshot in registry.snapshots()] == [0, 0, 1, 1]
    moved = registry.rescore(dataclasses.replace(old[0], era=2), EvalMetrics(-3.0))
    assert registry.best == moved


def test_another_than_the_best_may_be_tried_first(registry: CheckpointRegistry) -> None:
    agent = NumpyAgent()
    first = registry.save(agent, EvalMetrics(1.0))
    agent.weight = 7.0
    best = registry.save(agent, EvalMetrics(2.0))
    assert registry.load_best(agent, first) == first
    (registry.path_of(first) / "weights" / "agent.npy").write_bytes(b"damaged")
    assert registry.load_best(agent, first) == best
