"""The file that Weights & Biases writes offline: what it holds of a run, after a crash as well.

It is a log of LevelDB's, after a header of 7 bytes: blocks of 32 KiB, with records that may be split over several.
Source: https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import struct
from collections.abc import Iterator
from pathlib import Path

_BLOCK, _FILE_HEADER = 32_768, 7
_RECORD_HEADER = struct.Struct("<IHB")
"""Checksum, length, type."""
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[bytes]:
    """Yield the whole records of a file, up to where a crash has cut it short."""
    data = memoryview(path.read_bytes())
    at, begun = _FILE_HEADER, b""
    while at + _RECORD_HEADER.size <= len(data):
        if _BLOCK - at % _BLOCK < _RECORD_HEADER.size:  # what is left of a block holds no header
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _RECORD_HEADER.unpack_from(data, at)
        begin, at = at + _RECORD_HEADER.size, at + _RECORD_HEADER.size + length
        if at > len(data) or kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            return
        begun = bytes(data[begin:at]) if kind in (_FULL, _FIRST) else begun + bytes(data[begin:at])
        if kind in (_FULL, _LAST):
            yield begun
