"""What lies at a wrong path, and which path was meant."""

import shutil
from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.locating import check_run, is_run, is_snapshot, not_weights
from tensor_optix.errors import CheckpointCorruptError, CheckpointPathError
from tests.fakes.checkpoints import save
from tests.helpers import NumpyAgent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three snapshots, of which the second is the best."""
    folder = tmp_path / "runs" / "a"
    registry = CheckpointRegistry(folder)
    for score in (1.0, 3.0, 2.0):
        save(registry, score)
    registry.close()
    return folder


def test_a_run_and_a_snapshot_are_told_apart_wherever_they_are(run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(run / "snapshot_000001", tmp_path / "policy")
    assert is_run(run)
    assert not is_snapshot(run)
    assert is_snapshot(moved)
    assert not is_run(moved)
    check_run(run)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ("snapshot_000001", "the folder of a snapshot"),
        ("snapshot_000001/weights", "the folder of a snapshot's weights"),
        ("snapshot_000001/weights/agent.npy", "a file"),
        ("manifest.json", "a file"),
        ("snapshot_000009", "not there"),
        ("..", "a folder of runs"),
    ],
)
def test_where_a_run_is_wanted_the_one_that_was_meant_is_named(run: Path, wrong: str, what: str) -> None:
    with pytest.raises(CheckpointPathError, match=what) as raised:
        check_run(run / wrong)
    assert f"Did you mean {str(run)!r}?" in str(raised.value)
    assert isinstance(raised.value, FileNotFoundError)


def test_where_there_is_no_run_anywhere_it_says_what_one_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, what in (("empty", "a folder without a run"), ("nowhere", "not there")):
        with pytest.raises(CheckpointPathError, match=f"{what}.*checkpoint_dir or --run-dir"):
            check_run(tmp_path / path)


@pytest.mark.parametrize("wrong", ["", "snapshot_000001", "snapshot_000001/weights"])
def test_where_weights_are_wanted_those_that_were_meant_are_named(run: Path, wrong: str) -> None:
    meant = run / "snapshot_000001" / "weights" / "agent"
    assert f"load_weights({str(meant)!r})" in str(not_weights(str(run / wrong)))


@pytest.mark.parametrize("wrong", ["weights", "notes.safetensors"])
def test_a_folder_that_only_has_the_name_of_weights_has_none(tmp_path: Path, wrong: str) -> None:
    (tmp_path / wrong).mkdir()
    assert "There are no weights at" in str(not_weights(str(tmp_path / wrong)))


def test_a_suffix_too_much_and_a_path_to_nowhere_are_named(run: Path, tmp_path: Path) -> None:
    weights = run / "snapshot_000001" / "weights" / "agent.safetensors"
    weights.touch()
    assert f"load_weights({str(weights.with_suffix(''))!r})" in str(not_weights(str(weights)))
    assert "nowhere.safetensors' is not there" in str(not_weights(str(tmp_path / "nowhere")))


def test_a_registry_on_a_snapshot_neither_reads_nor_writes_there(run: Path) -> None:
    before = sorted((run / "snapshot_000001").rglob("*"))
    registry = CheckpointRegistry(run / "snapshot_000001")
    for use in (registry.open, lambda: registry.load_best(NumpyAgent()), lambda: save(registry, 1.0)):
        with pytest.raises(CheckpointPathError, match="the folder of a snapshot"):
            use()
    assert sorted((run / "snapshot_000001").rglob("*")) == before


def test_a_run_whose_snapshots_are_gone_is_damaged_and_no_wrong_path(run: Path) -> None:
    for snapshot in run.glob("snapshot_*"):
        shutil.rmtree(snapshot)
    with pytest.raises(CheckpointCorruptError, match=r"no intact snapshot.*ended before the first evaluation, or"):
        CheckpointRegistry(run).load_best(NumpyAgent())
    with pytest.raises(CheckpointPathError, match="not there"):
        CheckpointRegistry(run / "nowhere").load_best(NumpyAgent())


@pytest.mark.parametrize("manifest", [None, b"{", b"[]", b'{"best": 3}', b'{"best": "000009"}'])
def test_where_the_manifest_does_not_help_the_newest_weights_are_named(run: Path, manifest: bytes | None) -> None:
    newest = sorted(run.glob("snapshot_*"))[-1]
    (run / "manifest.json").unlink()
    if manifest is not None:
        (run / "manifest.json").write_bytes(manifest)
    assert str(newest / "weights" / "agent") in str(not_weights(str(run)))
