"""What is no session is refused, and reading one takes no more memory than a window."""

import tracemalloc
from pathlib import Path

import pytest
import zstandard

from tensor_optix.errors import FeedFatalError
from tensor_optix.pipeline.feed import session_reading
from tensor_optix.pipeline.feed.session_reading import read_session


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b'{"format":"tensor-optix-session","version":99}\n',
        b'{"format":"other","version":1}\n',
        b"not json\n",
        b'{"format":"tensor-optix-session","version":1}\n{"surprise":1}\n',
        b'{"format":"tensor-optix-session","version":1}\n{"observation":[1.0]}\n',
        b'{"format":"tensor-optix-session","version":1}\n{"dtype":"O","shape":[1],"observation":[1.0]}\n',
        b'{"format":"tensor-optix-session","version":1}\n{"dtype":"no","shape":[1],"observation":[1.0]}\n',
        b'{"format":"tensor-optix-session","version":1}\n{"dtype":"f4","shape":[2],"observation":[1.0]}\n',
        b'{"format":"tensor-optix-session","version":1}\n' + b"[" * 10_000 + b"\n",
        b'{"format":"tensor-optix-session","version":1}\n{"dtype":"f4","shape":[1],"observation":[1.0],"info":'
        b'{"x":{"__array__":["O",[1],[1]]}}}\n',
    ],
)
def test_what_is_no_session_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(content))
    with pytest.raises(FeedFatalError, match=r"session|damaged"):
        list(read_session(path))


def test_a_file_that_is_missing_or_no_zstandard(tmp_path: Path) -> None:
    with pytest.raises(FeedFatalError, match="cannot be read"):
        list(read_session(tmp_path / "none"))
    path = tmp_path / "session.jsonl.zst"
    path.write_bytes(b"plain text")
    with pytest.raises(FeedFatalError, match="no zstandard file"):
        list(read_session(path))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_reading, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "bomb"
    path.write_bytes(zstandard.ZstdCompressor().compress(b" " * (8 << 20)))
    with pytest.raises(FeedFatalError, match="more than 1048576 bytes"):
        list(read_session(path))


FIRST = b'{"dtype":"<f4","shape":[1],"observation":[0.0]}\n'
ITEM = b'{"observation":[0.0],"time":1.0}\n'
HEADER = b'{"format":"tensor-optix-session","version":1}\n'


@pytest.mark.parametrize(
    "line",
    [
        ITEM,
        *(
            pytest.param(line, marks=pytest.mark.slow)
            for line in (b'{"break":true}\n', b'{"late":true}\n', HEADER, HEADER + ITEM)
        ),
    ],
)
def test_memory_does_not_grow_with_the_lines(tmp_path: Path, line: bytes) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.jsonl.zst"
        content = HEADER + b'{"dtype":"<f4","shape":[1],"observation":[0.0]}\n' + line * count
        path.write_bytes(zstandard.ZstdCompressor().compress(content.replace(HEADER + ITEM, HEADER + FIRST + ITEM)))
        tracemalloc.start()
        try:
            for _ in read_session(path):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    count = 600_000 // len(line)  # more than is read at once; kept, each would take more than a hundred bytes
    assert peak(3 * count) < peak(count) + 500_000
