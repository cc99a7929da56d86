import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.storage import atomic
from tensor_optix.core.storage.durable_folder import QUARANTINE_SIZE, DurableFolders, ForeignFormatError, is_damage
from tensor_optix.errors import CheckpointCorruptError, CheckpointUnsafeError


@pytest.fixture
def folders(tmp_path: Path) -> DurableFolders:
    return DurableFolders(tmp_path, "thing_")


def add(folders: DurableFolders, text: str = "x", **content: Any) -> int:
    staged = folders.stage()
    (staged / "deep").mkdir()
    (staged / "deep" / "file").write_text(text)
    sequence = folders.next_sequence()
    folders.seal(staged, sequence, content)
    return sequence


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_sealed_folder_says_what_it_holds_and_verifies(folders: DurableFolders) -> None:
    assert add(folders, "abc", score=1.5) == 0
    metadata = folders.verify(0)
    assert metadata == {
        "format": 1,
        "sequence": 0,
        "score": 1.5,
        "files": {
            "deep/file": {
                "bytes": 3,
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            }
        },
    }
    assert names(folders.directory) == ["thing_000000"]


def test_every_file_and_folder_is_synced_before_the_rename_and_the_directory_after_it(
    folders: DurableFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    inodes = lambda: {path.stat().st_ino: path.name for path in [folders.directory, *folders.directory.rglob("*")]}  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(inodes()[os.fstat(descriptor).st_ino]))
    real = os.rename
    monkeypatch.setattr(os, "rename", lambda *paths: (done.append("rename"), real(*paths))[1])
    add(folders)
    staged = next(name for name in done if name.startswith(".tmp-thing_"))
    assert sorted(done[:-2]) == sorted(["file", "deep", "metadata.json", staged])
    assert done[-2:] == ["rename", folders.directory.name]
    done.clear()
    folders.remove([0])
    assert done == ["rename", folders.directory.name]


def test_a_folder_is_private(folders: DurableFolders) -> None:
    before = os.umask(0)
    try:
        add(folders)
    finally:
        os.umask(before)
    assert folders.folder(0).stat().st_mode & 0o777 == 0o700
    assert (folders.folder(0) / "metadata.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("there", "found", "following"),
    [
        ([], [], 0),
        (["thing_000000", "thing_000004"], [0, 4], 5),
        (["thing_4", "thing_x", "thing_", "other_000007", "thing_000002.old"], [], 5),
        (["thing_000003/", "thing_1000000"], [3, 1000000], 1000001),
        (["thing_999999999999", "thing_000001"], [1], 2),  # nobody counted that far
        (["thing_100000000000"], [], 0),
        (["thing_99999999999"], [99999999999], 100000000000),
        (["quarantine/000000-thing_000008", "thing_000001"], [1], 9),
        (["quarantine/notes", "quarantine/000000-other_000008"], [], 0),
    ],
)
def test_numbers_are_read_from_the_names_and_never_given_twice(
    folders: DurableFolders, there: list[str], found: list[int], following: int
) -> None:
    for name in there:
        (folders.directory / name).mkdir(parents=True)
    assert folders.sequences() == found
    assert folders.next_sequence() == following


def test_links_and_files_are_none_of_ours_but_their_numbers_are_not_given(folders: DurableFolders) -> None:
    add(folders)
    (folders.directory / "thing_000005").symlink_to(folders.folder(0))
    (folders.directory / "thing_000006").write_text("")
    (folders.directory / "thing_000007").symlink_to("nowhere")
    assert folders.sequences() == [0]
    assert folders.next_sequence() == 8
    for sequence in (5, 6, 7, 8):
        with pytest.raises(CheckpointCorruptError, match="no folder, or a link"):
            folders.read(sequence)


def resealed(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    def reseal(metadata: dict[str, Any]) -> bytes:
        metadata = {**metadata, **changes}
        del metadata["sha256"]
        return atomic.encode_json(metadata | {"sha256": atomic.digest_of(metadata)})

    return reseal


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: json.dumps(m).encode(), "was changed"),  # the same values in other bytes
        (lambda m: atomic.encode_json(m).rstrip(), "was changed"),
        (lambda m: atomic.encode_json(m | {"x": 1}), "was changed"),
        (lambda m: atomic.encode_json({k: v for k, v in m.items() if k != "sha256"}), "was changed"),
        (lambda m: atomic.encode_json(m).replace(b'"score": 1.5', b'"score": 1e999'), "cannot be"),
        (
            lambda m: atomic.encode_json(m).replace(b'"score": 1.5', b'"score": ' + b"[" * 900 + b"]" * 900),
            "changed|verified",
        ),
        (lambda m: atomic.encode_json(m).replace(b'"score": 1.5', b'"score": 1.5, "score": 1.5'), "there twice"),
        (resealed(sequence=1), "belongs to number 1"),
        (resealed(sequence=None), "belongs to number None"),
        (resealed(files=None), "does not list the files"),
        (resealed(files={"deep/file": 3}), "does not list the files"),
        (resealed(files={"deep/file": {"bytes": "1", "sha256": ""}}), "does not list the files"),
        (resealed(files={}), r"deep/file missing, changed or added"),
        (resealed(files={"../outside": {"bytes": 1, "sha256": ""}}), r"\.\./outside, deep/file missing"),
        (resealed(format=2), "its format is 2"),
        (lambda m: b"{}", "its format is None"),
    ],
)
def test_metadata_that_were_not_written_for_this_folder_are_refused(
    folders: DurableFolders, change: Callable[[dict[str, Any]], bytes], reason: str
) -> None:
    add(folders, score=1.5)
    path = folders.folder(0) / "metadata.json"
    path.write_bytes(change(json.loads(path.read_bytes())))
    with pytest.raises(CheckpointCorruptError, match=reason) as error:
        folders.verify(0)
    assert isinstance(error.value, ForeignFormatError) == (reason == "its format is 2")
    assert is_damage(error.value) == (reason != "its format is 2")


def test_names_and_lengths_are_compared_where_reading_all_would_take_too_long(folders: DurableFolders) -> None:
    add(folders, "abcd")
    (folders.folder(0) / "deep" / "file").write_text("abce")
    folders.verify(0, max_bytes=3)
    with pytest.raises(CheckpointCorruptError, match="deep/file"):
        folders.verify(0, max_bytes=4)
    (folders.folder(0) / "deep" / "file").write_text("abc")
    with pytest.raises(CheckpointCorruptError, match="deep/file"):
        folders.verify(0, max_bytes=3)


def test_a_nest_of_folders_is_no_way_to_crash_a_reader(folders: DurableFolders) -> None:
    add(folders)
    (folders.folder(0) / "/".join("d" * 100)).mkdir(parents=True)
    with pytest.raises(CheckpointCorruptError, match="nested deeper than 32"):
        folders.verify(0)


# --- removal ---


def test_what_is_removed_is_gone_and_what_its_links_point_to_is_not(folders: DurableFolders, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    add(folders)
    add(folders)
    (folders.folder(0) / "link").symlink_to(precious)
    (folders.folder(0) / "deep" / "link").symlink_to(precious / "data")
    folders.remove([0])
    assert names(tmp_path) == ["precious", "thing_000001"]
    assert (precious / "data").read_text() == "x"


def test_what_an_earlier_removal_left_goes_with_the_next(folders: DurableFolders) -> None:
    add(folders)
    for name in (".trash-thing_000009", ".trash-thing_000000"):  # one of its own number, too
        (folders.directory / name / "deep").mkdir(parents=True)
    (folders.directory / ".trash-other_000009").mkdir()
    folders.remove([0])
    assert names(folders.directory) == [".trash-other_000009"]


def test_cleaning_clears_its_own_kind_or_everything(folders: DurableFolders) -> None:
    for name in (".tmp-thing_1-1", ".trash-thing_000001", ".tmp-other_1-1", "thing_000001", "mine"):
        (folders.directory / name / "deep").mkdir(parents=True)
    folders.clean()
    assert names(folders.directory) == [".tmp-other_1-1", "mine", "thing_000001"]
    folders.clean(everything=True)
    assert names(folders.directory) == ["mine", "thing_000001"]


def test_litter_that_cannot_be_removed_is_reported_and_no_error(
    folders: DurableFolders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folders.directory / ".tmp-thing_1-1").mkdir()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(os, "rmdir", refuse)
        folders.clean()
    assert "Read-only file system" in caplog.text


# --- quarantine ---


def test_quarantine_keeps_the_newest_and_only_deletes_what_it_put_there(folders: DurableFolders) -> None:
    quarantine = folders.directory / "quarantine"
    (quarantine / "my notes").mkdir(parents=True)
    for n in range(QUARANTINE_SIZE + 3):
        folders.quarantine(add(folders, str(n)), "a test")
    expected = [f"{n:06d}-thing_{n:06d}" for n in range(3, QUARANTINE_SIZE + 3)]
    assert names(quarantine) == [*expected, "my notes"]
    assert (quarantine / expected[0] / "deep" / "file").read_text() == "3"
    assert add(folders) == QUARANTINE_SIZE + 3


def test_nothing_is_moved_through_a_link(folders: DurableFolders, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folders.directory / "quarantine").symlink_to(elsewhere)
    add(folders)
    with pytest.raises(CheckpointUnsafeError, match="is a link"):
        folders.quarantine(0, "a test")
    assert names(elsewhere) == []
    assert folders.sequences() == [0]
