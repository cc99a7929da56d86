"""With a key, only what was signed with it is read, and nothing else is moved, deleted or believed."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import BatchPipeline, CheckpointRegistry, RLOptimizer
from tensor_optix.core.storage import atomic
from tensor_optix.core.storage.signing import KEY_FILE, signing_key
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointUnsafeError, CheckpointUnsignedError, TensorOptixError
from tests.helpers import NumpyAgent


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "key"
    new_key(file, b"k" * 32)
    monkeypatch.setenv(KEY_FILE, str(file))
    return file


def new_key(file: Path, content: bytes, mode: int = 0o600) -> None:
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(mode)


def saved(folder: Path, weight: float = 1.0) -> CheckpointRegistry:
    registry = CheckpointRegistry(folder)
    agent = NumpyAgent()
    agent.weight = weight
    registry.save(agent, EvalMetrics(weight, {}, 0))
    registry.close()
    return registry


def resealed(folder: Path, **changes: Any) -> None:
    """Change metadata as somebody who knows how checksums are made, but has no key."""
    metadata = json.loads((folder / "metadata.json").read_text())
    del metadata["sha256"]
    metadata = {name: value for name, value in (metadata | changes).items() if value is not None}
    metadata["sha256"] = atomic.digest_of(metadata)
    (folder / "metadata.json").write_bytes(atomic.encode_json(metadata))


def test_what_was_signed_with_the_key_is_read_and_rescored(tmp_path: Path, key: Path) -> None:
    registry = saved(tmp_path / "run", weight=3.0)
    registry.rescore(registry.snapshots()[0], EvalMetrics(7.0, {}, 0))
    registry.close()
    agent = NumpyAgent()
    assert CheckpointRegistry(tmp_path / "run").load_best(agent).eval_metrics.primary_score == 7.0
    assert agent.weight == 3.0
    assert b"k" * 32 not in (tmp_path / "run/snapshot_000000/metadata.json").read_bytes()


@pytest.mark.parametrize("forgery", [{"signature": None}, {"signature": "0" * 64}, {"signature": 1}, {"more": 1}])
def test_what_was_not_is_refused_and_stays_where_it_is(tmp_path: Path, key: Path, forgery: dict[str, Any]) -> None:
    folder = saved(tmp_path / "run").directory
    resealed(folder / "snapshot_000000", **forgery)
    before = (folder / "snapshot_000000/metadata.json").read_bytes()
    agent = NumpyAgent()
    weight = agent.weight
    for use in (CheckpointRegistry(folder).open, lambda: CheckpointRegistry(folder).load_best(agent)):
        with pytest.raises(CheckpointUnsignedError, match=KEY_FILE):
            use()
    assert agent.weight == weight
    assert (folder / "snapshot_000000/metadata.json").read_bytes() == before


def test_another_key_reads_nothing_and_without_one_all_is_read(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "run").directory
    new_key(key, b"another key of many bytes")
    with pytest.raises(CheckpointUnsignedError, match="another key"):
        CheckpointRegistry(folder).load_best(NumpyAgent())
    monkeypatch.delenv(KEY_FILE)
    assert CheckpointRegistry(folder).load_best(NumpyAgent()).snapshot_id == "000000"


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601, 0o666])
def test_a_key_that_others_may_read_is_none(tmp_path: Path, key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(CheckpointUnsafeError, match="chmod 600"):
        CheckpointRegistry(tmp_path / "run").open()
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.name != "posix", reason="users of files are those of POSIX")
def test_a_key_of_another_user_is_none(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)
    with pytest.raises(CheckpointUnsafeError, match="must be this user's alone"):
        CheckpointRegistry(tmp_path / "run").open()


@pytest.mark.parametrize(("length", "is_one"), [(15, False), (16, True), (4096, True), (4097, False)])
def test_a_key_has_some_bytes_and_not_too_many(key: Path, length: int, is_one: bool) -> None:
    new_key(key, b"k" * length)
    with contextlib.nullcontext() if is_one else pytest.raises(CheckpointUnsafeError, match=KEY_FILE):
        assert signing_key() == b"k" * length


@pytest.mark.parametrize("trouble", ["absent", "short", "link", "folder", "huge"])
def test_a_key_that_is_none_is_said_before_anything_is_done(tmp_path: Path, key: Path, trouble: str) -> None:
    key.unlink()
    if trouble == "short":
        new_key(key, b"secret")
    elif trouble == "link":
        new_key(tmp_path / "real", b"k" * 32)
        key.symlink_to(tmp_path / "real")
    elif trouble == "folder":
        key.mkdir()
    elif trouble == "huge":
        new_key(key, b"k" * 5000)
    with pytest.raises(CheckpointUnsafeError, match=KEY_FILE):
        CheckpointRegistry(tmp_path / "run").open()
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_only_from_a_state_that_was_signed(tmp_path: Path, key: Path) -> None:
    def optimizer(windows: int, *, resume: bool) -> RLOptimizer:
        pipeline = BatchPipeline("CartPole-v1", window_size=50)
        return RLOptimizer(
            NumpyAgent(),
            pipeline,
            None,
            checkpoint_dir=tmp_path / "run",
            max_episodes=windows,
            resume=resume,
        )

    optimizer(2, resume=False).run()
    assert optimizer(3, resume=True).run().windows == 3
    newest = max((tmp_path / "run").glob("resume_[0-9]*"))
    resealed(newest, signature=None)
    with pytest.raises(CheckpointUnsignedError, match="is not signed"):
        optimizer(4, resume=True).run()
    assert newest.exists()
    assert issubclass(CheckpointUnsignedError, TensorOptixError)
