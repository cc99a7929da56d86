"""Sessions in a file: what is recorded is read back, and what is no session is refused."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from gymnasium import spaces

from tensor_optix.errors import BadDataError, FeedFatalError
from tensor_optix.pipeline._items import BREAK, Recorded
from tensor_optix.pipeline.feed.recording import SessionRecorder
from tensor_optix.pipeline.feed.session_reading import read_session, recorded_space
from tests.fakes.feeds import Counting, Feed, item, live


def recorded(path: Path, source: Any) -> None:
    pipeline = live(source, n=20, agent=Counting(), record=path)
    next(pipeline.episodes())
    pipeline.teardown()


def lines(path: Path) -> list[Any]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
        return [json.loads(line) for line in reader.read().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl.zst"


def write(path: Path, *numbers: int, window: int | None = None, **info: Any) -> None:
    """Record items in a separate session, and let a window end after them."""
    recorder = SessionRecorder(path)
    for n in numbers:
        observation, reward, terminated, truncated, _ = item(n)
        recorder.item(observation, reward, terminated, truncated, {"sequence": n, **info}, float(n))
    if window is not None:
        recorder.window(window)
    recorder.close()


def sequences(path: Path) -> list[Any]:
    return [each.item[4]["sequence"] if isinstance(each, Recorded) else "break" for each in read_session(path)]


class TestRoundTrip:
    def test_an_item_comes_back_as_it_was(self, path: Path) -> None:
        info = {"text": "a", "list": [1, None], "array": np.arange(4).reshape(2, 2), "number": np.float32(0.5)}
        recorder = SessionRecorder(path)
        recorder.item(np.array([[1, 2]], np.uint8), 0.1, True, False, info, 3.5)
        recorder.close()
        (found,) = read_session(path)
        assert isinstance(found, Recorded)
        observation, reward, terminated, truncated, again = found.item
        assert (observation.dtype, observation.tolist()) == (np.uint8, [[1, 2]])
        assert (reward, terminated, truncated, found.arrival) == (0.1, True, False, 3.5)
        assert (again["array"].dtype, again["array"].tolist()) == (info["array"].dtype, [[0, 1], [2, 3]])
        assert (again["text"], again["list"]) == ("a", [1, None])
        assert (type(again["number"]), again["number"]) == (np.float32, 0.5)

    def test_a_form_is_written_once_until_it_changes(self, path: Path) -> None:
        recorder = SessionRecorder(path)
        for observation in (np.zeros(2), np.ones(2), np.ones(3)):
            recorder.item(observation, 0.0, False, False, {}, 0.0)
        recorder.close()
        assert [line.get("shape") for line in lines(path)[1:]] == [[2], None, [3]]
        shapes = [each.item[0].shape for each in read_session(path) if isinstance(each, Recorded)]
        assert shapes == [(2,), (2,), (3,)]

    def test_what_became_of_an_item_belongs_to_it(self, path: Path) -> None:
        recorder = SessionRecorder(path)
        for n, then in enumerate((recorder.late, lambda: recorder.acted(9.5), recorder.broken)):
            recorder.item(np.zeros(1), float(n), False, False, {}, float(n))
            then()
        recorder.close()
        late, acted, plain, after = read_session(path)
        assert isinstance(late, Recorded)
        assert isinstance(acted, Recorded)
        assert isinstance(plain, Recorded)
        assert (late.is_late, late.acted) == (True, None)
        assert (acted.is_late, acted.acted) == (False, 9.5)
        assert (plain.is_late, plain.acted, after) == (False, None, BREAK)


class TestSessions:
    def test_a_later_session_goes_on_after_the_last_window(self, path: Path) -> None:
        write(path, 0, 1, window=0)
        write(path, 2, 3, window=1)
        assert sequences(path) == [0, 1, 2, 3]

    def test_what_came_after_the_last_window_is_seen_again_and_not_twice(self, path: Path) -> None:
        recorder = SessionRecorder(path)
        for n in range(4):
            recorder.item(np.zeros(1), 0.0, False, False, {"sequence": n}, 0.0)
            if n == 1:
                recorder.window(0)
        recorder.close()
        write(path, 2, 3, 4)
        assert sequences(path) == [0, 1, 2, 3, 4]

    def test_the_item_that_ended_the_window_may_be_sent_again(self, path: Path) -> None:
        write(path, 0, 1, window=0)
        write(path, 1, 2)
        assert sequences(path) == [0, 1, 2]

    def test_items_that_are_missing_between_sessions_are_a_break(self, path: Path) -> None:
        write(path, 0, 1, window=0)
        write(path, 5, 6)
        assert sequences(path) == [0, 1, "break", 5, 6]

    def test_a_window_is_on_the_disk_when_it_ends(self, path: Path) -> None:
        recorder = SessionRecorder(path)
        recorder.item(np.zeros(1), 0.0, False, False, {"sequence": 0}, 0.0)
        assert path.stat().st_size == 0
        recorder.window(0)
        assert sequences(path) == [0]
        recorder.close()
        recorder.close()

    def test_a_torn_end_costs_only_what_came_after_the_last_whole_frame(self, path: Path) -> None:
        write(path, 0, 1, window=0)
        whole = path.stat().st_size
        write(path, 2, 3, window=1)
        path.write_bytes(path.read_bytes()[: whole + 10])
        assert sequences(path) == [0, 1]


def test_each_line_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl.zst"
    recorded(path, Feed([item(n) for n in range(21)]))
    first, second, *_, last = lines(path)
    assert first == {"format": "tensor-optix-session", "version": 1}
    assert second["observation"] == [0.0, 0.0]
    assert (second["dtype"], second["shape"]) == ("<f4", [2])
    assert last == {"window": 0}


def test_what_cannot_be_recorded_is_named(tmp_path: Path) -> None:
    source = Feed([item(n, thing=object()) for n in range(30)])
    pipeline = live(source, record=tmp_path / "session.jsonl.zst")
    with pytest.raises(BadDataError, match="cannot be recorded"):
        next(pipeline.episodes())
    pipeline.teardown()


def test_a_recording_is_its_users_alone_and_is_written_through_no_link(path: Path, tmp_path: Path) -> None:
    write(path, 0, window=0)
    assert path.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link.jsonl.zst"
    link.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="link"):
        SessionRecorder(link)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_a_declared_gap_and_the_recording_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = SessionRecorder(path)

    def add(number: int) -> None:
        observation, reward, terminated, truncated, _ = item(number)
        recorder.item(observation, reward, terminated, truncated, {"sequence": number}, float(number))
        recorder.window(number)

    def refuse(data: Any) -> int:
        real(bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    add(0)
    real = recorder._file.write
    with monkeypatch.context() as full:
        full.setattr(recorder, "_file", Refusing(recorder._file, refuse))
        add(1)
        add(2)
    add(3)
    recorder.close()
    assert sequences(path) == [0, "break", 3]
    assert recorder.lost == 4
    assert [record.getMessage().count("No space left") for record in caplog.records] == [1]


class Refusing:
    """A file whose writes do something else."""

    def __init__(self, file: Any, write: Callable[[Any], int]) -> None:
        self.write = write
        self.seek, self.truncate = file.seek, file.truncate


def test_its_folder_is_made(tmp_path: Path) -> None:
    write(tmp_path / "new" / "folder" / "session.jsonl.zst", 0, 1)
    assert sequences(tmp_path / "new" / "folder" / "session.jsonl.zst") == [0, 1]


@pytest.mark.parametrize("observation", [{"a": np.arange(2), "b": "text"}, 3, "text", [1, 2]])
def test_an_observation_that_is_no_array_comes_back_as_it_was(path: Path, observation: Any) -> None:
    recorder = SessionRecorder(path)
    recorder.item(observation, 1.0, False, False, {}, 2.0)
    recorder.close()
    recorder.close()  # harmless
    (found,) = read_session(path)
    assert isinstance(found, Recorded)
    assert repr(found.item[0]) == repr(observation)


def test_many_lines_reach_the_disk_before_the_window_ends(path: Path) -> None:
    recorder = SessionRecorder(path)
    for n in range(5_000):
        recorder.acted(float(n))
    assert path.stat().st_size > 0
    recorder.close()
    assert len(lines(path)) == 5_001


@pytest.mark.parametrize(
    ("space", "read"), [(spaces.Discrete(3), spaces.Discrete(3)), (spaces.Box(0.0, 1.0, (2,)), None), (None, None)]
)
def test_a_session_names_the_space_of_what_is_no_array(path: Path, space: Any, read: Any) -> None:
    SessionRecorder(path, space).close()
    assert recorded_space(path) == read


def test_a_space_that_is_none_is_damage_and_one_that_cannot_be_read_is_not_told(path: Path) -> None:
    assert recorded_space(path) is None
    header = b'{"format":"tensor-optix-session","version":1,"space":{"kind":"no space"}}\n'
    path.write_bytes(zstandard.ZstdCompressor().compress(header))
    with pytest.raises(FeedFatalError, match="is damaged"):
        recorded_space(path)
