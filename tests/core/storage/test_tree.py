import hashlib
import os
from pathlib import Path

import pytest

from tensor_optix.core.storage import tree
from tensor_optix.core.storage.tree import checksums, is_folder, move_to_new, remove, sync, try_remove
from tensor_optix.errors import CheckpointCorruptError


@pytest.fixture(params=[True, False], ids=["by descriptor", "by path"], autouse=True)
def _by_descriptor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_BY_DESCRIPTOR", request.param and tree._BY_DESCRIPTOR)


def test_checksums_cover_every_file_below_by_its_relative_path(tmp_path: Path) -> None:
    (tmp_path / "weights" / "deep").mkdir(parents=True)
    (tmp_path / "a.json").write_bytes(b"{}")
    (tmp_path / "weights" / "deep" / "w.bin").write_bytes(b"\0" * 10)
    assert checksums(tmp_path) == {
        "a.json": {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()},
        "weights/deep/w.bin": {"bytes": 10, "sha256": hashlib.sha256(b"\0" * 10).hexdigest()},
    }


@pytest.mark.parametrize("target", ["file", "folder", "nowhere"])
def test_checksums_refuse_a_link_wherever_it_points(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(tmp_path / target)
    with pytest.raises(CheckpointCorruptError, match="neither a plain file nor a folder"):
        checksums(tree)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this platform")
def test_checksums_refuse_what_would_block_a_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointCorruptError, match="neither a plain file nor a folder"):
        checksums(tmp_path)


def test_syncing_a_tree_reads_every_file_and_changes_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x")
    before = checksums(tmp_path)
    sync(tmp_path)
    assert checksums(tmp_path) == before


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_everything_is_synced_once_however_many_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    paths = [tmp_path / name for name in ("a", "b", "one/c", "one/two/d", "one/two/e")]
    for path in paths:
        path.write_bytes(b"x")
    folders = [tmp_path, tmp_path / "one", tmp_path / "one" / "two"] if tree._BY_DESCRIPTOR else []
    synced: list[int] = []
    monkeypatch.setattr(tree, "AT_ONCE", at_once)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    sync(tmp_path)
    assert sorted(synced) == sorted(path.stat().st_ino for path in (*paths, *folders))


@pytest.mark.parametrize("at_once", [1, 100])
def test_a_file_that_is_not_synced_is_an_error_and_nothing_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"x")
    failing, opened, real = (tmp_path / "b").stat().st_ino, set[int](), os.fsync

    def fsync(descriptor: int) -> None:
        opened.add(descriptor)
        if os.fstat(descriptor).st_ino == failing:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(tree, "AT_ONCE", at_once)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output"):
        sync(tmp_path)
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_where_no_thread_can_be_started_files_are_synced_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    synced: list[int] = []
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr("_thread.start_new_thread", refuse)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    sync(tmp_path)
    assert len(synced) == len(set(synced))
    assert {path.stat().st_ino for path in tmp_path.iterdir()} <= set(synced)


def test_a_file_of_another_length_than_expected_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(b"abc")
    (tmp_path / "longer").write_bytes(b"abcd")
    (tmp_path / "more").write_bytes(b"")
    expected = {"same": {"bytes": 3, "sha256": "x"}, "longer": {"bytes": 3, "sha256": "x"}}
    assert checksums(tmp_path, expected) == {
        "same": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()},
        "longer": {"bytes": 4},
        "more": {"bytes": 0},
    }
    assert checksums(tmp_path, contents=False) == {
        n: {"bytes": b} for n, b in (("same", 3), ("longer", 4), ("more", 0))
    }


def test_removal_takes_whatever_it_is_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    tree = tmp_path / "tree"
    (tree / "deep" / "deeper").mkdir(parents=True)
    (tree / "deep" / "file").write_text("")
    (tree / "deep" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("tree", "file", "link", "dangling", "nothing"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious" / "data").read_text() == "x"


def test_what_is_nested_too_deep_is_left_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tree" / "/".join("d" * (tree.MAX_DEPTH + 1))).mkdir(parents=True)
    assert not try_remove(tmp_path / "tree")
    assert "nested deeper than 32" in caplog.text
    (tmp_path / "other" / "/".join("d" * tree.MAX_DEPTH)).mkdir(parents=True)
    assert try_remove(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_folder_is_one_only_if_it_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_folder(tmp_path)
    for name in ("file", "link", "nothing", "file/below"):
        assert not is_folder(tmp_path / name)


def test_what_is_moved_away_gets_the_first_free_number(tmp_path: Path) -> None:
    for n in range(2):
        (tmp_path / "a").mkdir()
        (tmp_path / "b").write_text(str(n))
        assert move_to_new(tmp_path, ["a", "b"], "old_") == tmp_path / f"old_{n:03d}"
        assert (tmp_path / f"old_{n:03d}" / "b").read_text() == str(n)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old_000", "old_001"]
