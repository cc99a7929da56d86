"""A file of JSON lines: appended to, cut back, never through a link."""

import io
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.storage import line_log
from tensor_optix.core.storage.line_log import MAX_LINE_BYTES, LineLog, whole_lines
from tensor_optix.errors import CheckpointCorruptError, CheckpointStorageError


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LineLog]:
    made = LineLog(tmp_path / "log.jsonl")
    yield made
    made.close()


def test_nothing_is_written_before_the_first_line(tmp_path: Path, log: LineLog) -> None:
    assert log.position() == 0
    assert list(tmp_path.iterdir()) == []


def test_lines_are_appended_also_after_it_was_closed(tmp_path: Path, log: LineLog) -> None:
    log.append({"n": 1})
    log.close()
    log.append({"n": 2})
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [{"n": 1}, {"n": 2}]
    assert log.position(sync=False) == (tmp_path / "log.jsonl").stat().st_size


def test_it_goes_back_and_returns_the_newest_lines_that_are_left(log: LineLog) -> None:
    for n in range(5):
        log.append({"n": n})
    position = log.position()
    log.append({"n": 5})
    assert log.go_back_to(position, newest=2) == [b'{"n": 3}', b'{"n": 4}']
    assert log.position() == position


def test_of_a_tail_of_short_lines_only_the_newest_are_taken_apart(tmp_path: Path, log: LineLog) -> None:
    size = 1 << 20
    (tmp_path / "log.jsonl").write_bytes(b"1\n" * (size // 2))
    tracemalloc.start()
    try:
        assert log.go_back_to(size, newest=1000) == [b"1"] * 1000
        assert tracemalloc.get_traced_memory()[1] < 2 * size + 200_000  # the tail, and the tail without its last end
    finally:
        tracemalloc.stop()


def test_the_lines_of_a_file_are_read_one_at_a_time_and_none_without_its_end() -> None:
    assert list(whole_lines(io.BytesIO(b"1\n\n22\n3"))) == [b"1\n", b"\n", b"22\n"]
    assert list(whole_lines(io.BytesIO(b""))) == []


def test_a_line_that_is_too_long_is_the_last_and_is_cut() -> None:
    long = b"x" * (MAX_LINE_BYTES + 10)
    assert list(whole_lines(io.BytesIO(b"1\n" + long + b"\n2\n"))) == [b"1\n", long[: MAX_LINE_BYTES + 1]]
    assert list(whole_lines(io.BytesIO(long))) == [long[: MAX_LINE_BYTES + 1]]


def test_the_longest_line_needs_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_log, "MAX_LINE_BYTES", 4)
    assert list(whole_lines(io.BytesIO(b"xxx\nxxxx"))) == [b"xxx\n"]


def test_a_line_that_a_crash_cut_short_is_dropped_before_the_next(tmp_path: Path, log: LineLog) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"n": 0}\n{"n": ')
    log.append({"n": 1})
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"n": 0}\n{"n": 1}\n'


def test_a_file_that_is_shorter_than_the_saved_state_says_so(log: LineLog) -> None:
    log.append({"n": 0})
    with pytest.raises(CheckpointCorruptError, match="has 9 bytes"):
        log.go_back_to(100)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, log: LineLog) -> None:
    (tmp_path / "precious").write_text("precious\n")
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(CheckpointStorageError):
        log.append({"n": 0})
    with pytest.raises(CheckpointStorageError):
        log.go_back_to(0)
    assert (tmp_path / "precious").read_text() == "precious\n"


def test_a_line_that_the_disk_takes_in_part_only_is_cut_off_again(
    tmp_path: Path, log: LineLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Filling(io.FileIO):
        def write(self, data: Any) -> int:
            if len(data) <= 4:
                raise OSError(28, "No space left on device")
            return super().write(bytes(data[:4]))

    log.append({"n": 0})
    log.close()
    with monkeypatch.context() as patch:
        patch.setattr(line_log, "FileIO", Filling)
        with pytest.raises(CheckpointStorageError, match="No space left"):
            log.append({"n": 1})
        log.close()
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"n": 0}\n'
    log.append({"n": 2})
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"n": 0}\n{"n": 2}\n'


def test_its_position_is_on_the_disk_unless_that_does_not_matter(log: LineLog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert log.position() == 0
    log.append({"n": 0})
    assert log.position(sync=False) == 9
    assert synced == []
    assert log.position() == 9
    assert len(synced) == 1


@pytest.mark.parametrize("newest", [0, 1, 2, 3, 4])
def test_so_many_lines_are_returned_as_are_asked_for_and_there(log: LineLog, newest: int) -> None:
    for n in range(3):
        log.append({"n": n})
    everything = [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}']
    assert log.go_back_to(log.position(), newest) == everything[max(3 - newest, 0) :] * bool(newest)


def test_of_a_file_that_is_not_there_nothing_is_left(log: LineLog) -> None:
    assert log.go_back_to(0, newest=3) == []
    with pytest.raises(CheckpointCorruptError, match="has 0 bytes"):
        log.go_back_to(1)


@pytest.mark.parametrize(
    ("tail", "newest", "left"),
    [
        (10, 5, [b"cccc"]),  # it begins within a line, for all that is known
        (11, 5, [b"bbbb", b"cccc"]),
        (11, 2, [b"bbbb", b"cccc"]),
        (12, 1, [b"cccc"]),
    ],
)
def test_of_a_file_that_is_longer_than_its_tail_no_line_is_cut(
    tmp_path: Path, log: LineLog, monkeypatch: pytest.MonkeyPatch, tail: int, newest: int, left: list[bytes]
) -> None:
    monkeypatch.setattr(line_log, "MAX_TAIL_BYTES", tail)
    (tmp_path / "log.jsonl").write_bytes(b"aaaa\nbbbb\ncccc\ndropped\n")
    assert log.go_back_to(15, newest) == left
