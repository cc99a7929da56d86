import hashlib
import os
from pathlib import Path

import pytest

from tensor_optix.core._tree import checksums, sync_below
from tensor_optix.errors import CheckpointCorruptError


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
    assert sync_below(tmp_path) == before
    assert checksums(tmp_path) == before
