"""Reading the files that Weights & Biases writes offline."""

import struct
from pathlib import Path

from tensor_optix.callbacks.trackers.wandb_log import records

HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)


def log_of(*contents: bytes) -> bytes:
    """Write records as LevelDB does: in blocks of 32 KiB, split where one is full."""
    data = bytearray(HEADER)
    for content in contents:
        left, is_first = content, True
        while left or is_first:
            room = 32_768 - len(data) % 32_768
            if room < 7:
                data += bytes(room)
                continue
            part, left = left[: room - 7], left[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[is_first, not left]
            data += struct.pack("<IHB", 0, len(part), kind) + part
            is_first = False
    return bytes(data)


def test_records_are_read_across_blocks(tmp_path: Path) -> None:
    contents = [b"a", b"b" * 40_000, b"", b"c" * 100_000, b"d"]
    (tmp_path / "x").write_bytes(log_of(*contents))
    assert list(records(tmp_path / "x")) == contents


def test_the_end_of_a_block_that_holds_no_header_is_passed_over(tmp_path: Path) -> None:
    for room in range(10):
        contents = [b"a" * (32_768 - 7 - 7 - room), b"b"]
        (tmp_path / "x").write_bytes(log_of(*contents))
        assert list(records(tmp_path / "x")) == contents


def test_what_a_crash_has_cut_short_is_left_out(tmp_path: Path) -> None:
    whole = log_of(b"first", b"second")
    for end in range(len(whole)):
        (tmp_path / "x").write_bytes(whole[:end])
        found = list(records(tmp_path / "x"))
        assert found == [b"first", b"second"][: len(found)]
