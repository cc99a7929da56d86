"""Saving, loading, ranking, staging, rescoring and archiving snapshots."""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage import tree
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    CheckpointError,
    CheckpointPathError,
    CheckpointStorageError,
    ContractError,
    InvalidArgumentError,
)
from tests.fakes.checkpoints import best_weight, litter, save, scores
from tests.fakes.damage import (
    cut_the_metadata,
    flip_a_byte_of_the_weights,
)
from tests.helpers import NumpyAgent

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
    in_force = HyperparamSet({"learning_rate": 0.5}, 3)
    snapshot = registry.save(NumpyAgent(), EvalMetrics(1.0), 4, in_force)
    in_force.params["learning_rate"] = 9.0
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


@pytest.mark.parametrize("fails", [False, True])
def test_a_snapshot_is_loaded_for_a_block_and_the_own_policy_is_back_after_it(
    registry: CheckpointRegistry, fails: bool
) -> None:
    snapshot, agent = save(registry, 1.0, weight=10.0), NumpyAgent()
    agent.weight = 3.0
    with (
        pytest.raises(RuntimeError, match="its own") if fails else contextlib.nullcontext(),
        registry.loaded(snapshot, agent),
    ):
        assert agent.weight == 10.0
        agent.weight = 11.0
        if fails:
            raise RuntimeError("its own")
    assert agent.weight == 3.0
    assert litter(registry.directory) == []


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
    with pytest.raises(CheckpointPathError, match="not there"):
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


def test_a_full_disk_does_not_keep_a_registry_from_going_back(
    registry: CheckpointRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saved = registry.save(NumpyAgent(), EvalMetrics(1.0))

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensor_optix.core.storage.atomic.replace_file", full)
    registry.go_back_to(0)
    assert "could not be undone" in caplog.text
    assert [one.snapshot_id for one in registry.snapshots()] == [saved.snapshot_id]


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


# --- save, load, best ---


def test_closing_is_harmless_at_any_time_and_a_later_write_opens_again(registry: CheckpointRegistry) -> None:
    registry.close()
    save(registry, 1.0)
    registry.close()
    registry.close()
    save(registry, 2.0)
    assert scores(registry) == [1.0, 2.0]


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


def test_the_hyperparameters_may_be_the_third_argument(registry: CheckpointRegistry) -> None:
    saved = registry.save(NumpyAgent(), EvalMetrics(1.0, {}, 7), HyperparamSet({"learning_rate": 0.5}))
    assert (saved.window_id, saved.hyperparams.params) == (7, {"learning_rate": 0.5})
    with pytest.raises(InvalidArgumentError, match="window_id must be a whole number"):
        registry.save(NumpyAgent(), EvalMetrics(1.0), "hyperparams")  # type: ignore[arg-type]


def test_the_lowest_loss_is_the_best(registry: CheckpointRegistry) -> None:
    agent = NumpyAgent()
    for agent.weight, loss in ((1.0, 5.0), (2.0, 3.0), (3.0, 4.0)):
        registry.save(agent, EvalMetrics(loss, lower_is_better=True))
    assert [s.eval_metrics.primary_score for s in registry.ranked_snapshots] == [3.0, 4.0, 5.0]
    assert not registry.load_if_better(agent, 2.0)
    assert registry.load_if_better(agent, 3.5)
    assert agent.weight == 2.0


# --- what there is none of ---


@pytest.mark.parametrize("directory", [3, None, b"run"])
def test_a_directory_is_a_path(directory: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="checkpoint_dir must be the path of a directory, but got"):
        CheckpointRegistry(directory)


def test_without_a_snapshot_none_is_better(registry: CheckpointRegistry) -> None:
    agent = NumpyAgent()
    assert registry.best is None
    assert not registry.load_if_better(agent, 0.0)
    assert agent.loaded == []


def test_an_agent_that_saves_statistics_gets_those_of_an_attached_part(registry: CheckpointRegistry) -> None:
    class Part:
        observation_normalizer = object()

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None: ...

    class Saves(NumpyAgent):
        handed: list[object] = []

        def set_observation_normalizer(self, normalizer: Any) -> None:
            self.handed.append(normalizer)

    agent, part = Saves(), Part()
    registry.attach("part", part)
    snapshot = registry.save(agent, EvalMetrics(1.0))
    registry.load(snapshot, agent)
    assert agent.handed == [part.observation_normalizer] * 2
    registry.load(snapshot, NumpyAgent())  # one that saves none is left alone


@pytest.mark.parametrize("lacking", [object(), NumpyAgent()])
def test_a_part_without_a_state_is_not_attached(registry: CheckpointRegistry, lacking: Any) -> None:
    with pytest.raises(ContractError, match="'part' needs state_dict and load_state_dict"):
        registry.attach("part", lacking)


# --- in reserve ---


def put_in_reserve(registry: CheckpointRegistry, score: float) -> PolicySnapshot:
    agent = NumpyAgent()
    return registry.commit(
        registry.stage(agent), EvalMetrics(score), 0, HyperparamSet({"weight": score}), in_reserve=True
    )


def test_what_is_in_reserve_is_neither_listed_nor_pruned_until_it_is_dropped(directory: Path) -> None:
    registry = CheckpointRegistry(directory, max_snapshots=1)
    first, second, third = (put_in_reserve(registry, score) for score in (1.0, 2.0, 3.0))
    for score in (4.0, 5.0):
        save(registry, score)
    assert scores(registry) == [1.0, 2.0, 3.0, 5.0]
    manifest = json.loads((directory / "manifest.json").read_bytes())
    assert [entry["score"] for entry in manifest["snapshots"]] == [5.0]
    cut_the_metadata(registry.path_of(second))  # quarantined when all are opened, and not deleted
    registry.keep_in_reserve([third.snapshot_id])
    assert registry.reserve == {third.snapshot_id}
    assert not registry.path_of(first).exists()
    assert registry.path_of(second).exists()
    registry.rescore(third, EvalMetrics(9.0))  # it was tested, and is a snapshot like others
    registry.keep_in_reserve([])
    assert scores(registry) == [9.0, 5.0]
    registry.close()
    assert registry.reserve is None
