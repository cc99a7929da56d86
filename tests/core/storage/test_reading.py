"""Files are read whole, plain and within their bounds, or not at all."""

import io
import os
from pathlib import Path

import pytest

from tensor_optix.core.storage.reading import open_plain, read_exactly, read_plain
from tensor_optix.errors import CheckpointCorruptError


@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_plain_file_of_at_most_so_many_bytes_is_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(b"a" * size)
    assert read_plain(tmp_path / "x", 5) == b"a" * size


def test_a_larger_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a" * 6)
    with pytest.raises(CheckpointCorruptError, match="x' is larger than 5 bytes"):
        read_plain(tmp_path / "x", 5)


@pytest.mark.skipif(os.name != "posix", reason="no such kinds of files on this platform")
@pytest.mark.parametrize("kind", ["absent", "a link", "a second name", "a pipe", "a folder"])
def test_what_is_no_plain_file_with_one_name_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "plain").write_bytes(b"{}")
    path = tmp_path / "x"
    if kind == "a link":
        path.symlink_to(tmp_path / "plain")
    elif kind == "a second name":
        os.link(tmp_path / "plain", path)
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    with pytest.raises(CheckpointCorruptError):
        read_plain(path, 5)


def test_a_descriptor_of_a_plain_file_is_the_callers_to_close(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"ab")
    descriptor = open_plain(tmp_path / "x")
    assert os.read(descriptor, 9) == b"ab"
    os.close(descriptor)


def test_short_reads_are_continued_and_an_early_end_is_corrupt(tmp_path: Path) -> None:
    class Slow(io.FileIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return super().readinto(buffer[:2])

    (tmp_path / "x").write_bytes(b"abcdefg")
    with Slow(tmp_path / "x") as file:
        data = bytearray(7)
        read_exactly(file, data, "x")
        assert data == b"abcdefg"
        with pytest.raises(CheckpointCorruptError, match="'x' ends 3 bytes early"):
            read_exactly(file, bytearray(3), "x")


def test_a_disk_that_fails_while_it_is_read_is_damage_that_names_the_file() -> None:
    class Failing(io.FileIO):
        def __init__(self) -> None:
            super().__init__(os.devnull)

        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with Failing() as file, pytest.raises(CheckpointCorruptError, match=r"'weights' cannot be read: .*Input/output"):
        read_exactly(file, bytearray(3), "weights")
