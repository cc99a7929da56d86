import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from gymnasium import spaces

from tensor_optix.errors import MissingDependencyError
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tensor_optix.pipeline.sources.replay_source import ReplaySource
from tests.fakes.echo import Echo
from tests.fakes.environments import Mined, Sapper
from tests.fakes.feeds import BAD, Acting, Counting, Feed, Replayable, item, live, rows
from tests.fakes.windows import assert_same
from tests.helpers import FlatAgent, NumpyAgent


def recorded(path: Path, source: Any, agent: Any, count: int, **options: Any) -> list[Any]:
    pipeline = live(source, n=20, agent=agent, record=path, **options)
    windows = list(itertools.islice(pipeline.episodes(), count))
    pipeline.teardown()
    return windows


def replayed(path: Path, agent: Any, **options: Any) -> list[Any]:
    return list(live(ReplaySource(path), n=20, agent=agent, **options).episodes())


def lines(path: Path) -> list[Any]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
        return [json.loads(line) for line in reader.read().splitlines()]


def test_a_replay_gives_the_same_windows_and_decisions(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl.zst"
    windows = recorded(path, EnvironmentSource("CartPole-v1", seed=1), NumpyAgent(seed=2), 8)
    again = replayed(path, NumpyAgent(seed=2))
    assert len(again) == 8
    for ours, theirs in zip(again, windows, strict=True):
        assert_same(ours, theirs)
    other = replayed(path, NumpyAgent(seed=3))
    assert any(list(a.actions) != list(b.actions) for a, b in zip(other, windows, strict=True))


def test_a_recording_stays_where_it_began_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("start", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "start")
    pipeline = live(EnvironmentSource("CartPole-v1", seed=1), n=20, agent=NumpyAgent(), record="session.jsonl.zst")
    source = ReplaySource("session.jsonl.zst")
    monkeypatch.chdir(tmp_path / "other")
    window = next(iter(pipeline.episodes()))
    pipeline.teardown()
    assert [path.name for path in (tmp_path / "start").iterdir()] == ["session.jsonl.zst"]
    assert_same(next(iter(live(source, n=20, agent=NumpyAgent()).episodes())), window)


def test_infos_and_masks_come_back(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl.zst"
    windows = recorded(path, EnvironmentSource(Mined()), Sapper(), 3)
    for ours, theirs in zip(replayed(path, Sapper()), windows, strict=True):
        for name in ("action_masks", "next_action_masks", "actions", "rewards"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    info = {"a": np.arange(3, dtype=np.int8), "b": np.float32(0.1), "c": [{"d": None}], "e": np.zeros((2, 0))}
    path = tmp_path / "infos.jsonl.zst"
    (window,) = recorded(path, Feed([item(n, **info) for n in range(21)]), Counting(), 1)
    (again,) = replayed(path, Counting())
    for ours, theirs in zip(again.infos, window.infos, strict=True):
        assert ours.keys() == theirs.keys()
        assert (ours["a"].dtype, ours["a"].tolist()) == (np.int8, [0, 1, 2])
        assert (type(ours["b"]), ours["b"]) == (np.float32, np.float32(0.1))
        assert ours["c"] == theirs["c"]
        assert ours["e"].shape == (2, 0)


def test_breaks_and_times_come_back(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl.zst"
    clock = itertools.count(100.0, 0.37)
    items = [item(n, numbered=True, truncated=n == 30) for n in range(60) if n not in (10, 11, 25)]
    items.insert(15, BAD["nan"])
    options = {"clock": lambda: next(clock), "record": path}
    source = Feed(items)
    windows = list(LivePipeline(source, Counting(), LivePipeline.every_n_seconds(9), **options).episodes())
    assert len(windows) > 2
    again = list(LivePipeline(ReplaySource(path), Counting(), LivePipeline.every_n_seconds(9)).episodes())
    for ours, theirs in zip(again, windows, strict=True):
        assert_same(ours, theirs)
        assert ours.metadata["breaks"] == theirs.metadata["breaks"]


def test_a_late_action_is_late_again(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl.zst"
    now = [0.0]

    def act(n: int) -> int:
        now[0] += 5.0 if n in (3, 20) else 0.0
        return 1

    options = {"safe_action": 0, "action_deadline": 1.0}
    source = Acting([item(n) for n in range(41)])
    windows = recorded(path, source, Counting(act), 2, clock=lambda: now[0], buffer_size=1, **options)
    late = [n for n, action in enumerate(np.concatenate([w.actions for w in windows])) if action == 0]
    assert 3 in late
    assert 20 in late  # the item that ended a window
    again = replayed(path, Counting(lambda n: 1), **options)
    assert [n for n, action in enumerate(np.concatenate([w.actions for w in again])) if action == 0] == late


class Waiting(Acting):
    """An item a second, but none before the last one was acted on."""

    is_lockstep = True

    def __init__(self, now: list[float], count: int) -> None:
        super().__init__([item(n) for n in range(count)])
        self._now, self._has_acted = now, threading.Semaphore(1)

    def stream(self) -> Iterator[Any]:
        for what in super().stream():
            self._has_acted.acquire()
            self._now[0] += 1.0
            yield what

    def apply(self, action: Any) -> None:
        self._has_acted.release()

    def close(self) -> None:
        self._has_acted.release()


@pytest.mark.parametrize("is_lockstep", [True, False])
def test_the_time_of_learning_is_in_no_window_of_a_feed_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_lockstep: bool
) -> None:
    monkeypatch.setattr(Waiting, "is_lockstep", is_lockstep)
    now = [0.0]
    paths = [tmp_path / f"{name}.jsonl.zst" for name in ("live", "again")]
    pipeline = LivePipeline(
        Waiting(now, 60), Counting(), LivePipeline.every_n_seconds(10), clock=lambda: now[0], record=paths[0]
    )
    windows = []
    for window in itertools.islice(pipeline.episodes(), 5):
        windows.append(window)
        now[0] += 100.0  # it learns
    pipeline.teardown()
    assert [window.length for window in windows] == ([10] * 5 if is_lockstep else [10, 1, 1, 1, 1])
    # A replay has the recorded times, and so has the replay of a recorded replay.
    for source, record in ((paths[0], paths[1]), (paths[1], None)):
        again = LivePipeline(ReplaySource(source), Counting(), LivePipeline.every_n_seconds(10), record=record)
        for ours, theirs in zip(again.episodes(), windows, strict=True):
            assert_same(ours, theirs)


@pytest.mark.parametrize("numbered", [True, False])
def test_the_seconds_of_a_window_do_not_count_from_before_it_was_interrupted(tmp_path: Path, numbered: bool) -> None:
    path = tmp_path / "session.jsonl.zst"
    windows: list[Any] = []
    state: Any = None
    for session in range(2):
        clock = itertools.count(1e6 * session, 1.0)
        source = Replayable(500, 500) if numbered else Feed([item(n) for n in range(100)])
        pipeline = LivePipeline(
            source, Counting(), LivePipeline.every_n_seconds(20), clock=lambda clock=clock: next(clock), record=path
        )
        if state is not None:
            pipeline.restore_stream(state)
        for window in itertools.islice(pipeline.episodes(), 2):
            windows.append(window)
            state = pipeline.stream_state()
        pipeline.teardown()
    again = list(LivePipeline(ReplaySource(path), Counting(), LivePipeline.every_n_seconds(20)).episodes())
    assert [window.length for window in again] == [window.length for window in windows]
    assert rows(again) == rows(windows)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_later_session_goes_on_in_the_same_file(tmp_path: Path, numbered: bool) -> None:
    path = tmp_path / "session.jsonl.zst"
    windows: list[Any] = []
    state: Any = None
    for _ in range(3):
        source = Replayable(500, 33) if numbered else Feed([item(n) for n in range(100)])
        pipeline = live(source, n=20, record=path)
        if state is not None:
            pipeline.restore_stream(state)
        stream = pipeline.episodes()
        for _ in range(2):
            windows.append(next(stream))
            state = pipeline.stream_state()
        pipeline.teardown()
    again = replayed(path, Counting())
    if numbered:
        assert rows(again) == [(n, n + 1, n + 1) for n in range(120)]
    assert rows(again)[: len(rows(windows))] == rows(windows)


@pytest.mark.parametrize("cut", [1, 5, 20, 60, 200])
def test_a_torn_end_costs_the_last_window_at_the_most(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "session.jsonl.zst"
    windows = recorded(path, Replayable(1000, 400), Counting(), 10)
    path.write_bytes(path.read_bytes()[:-cut])
    again = replayed(path, Counting())
    assert len(again) >= 8
    assert rows(again) == rows(windows)[: len(rows(again))]


def test_zstandard_is_missed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"tensor-optix-core\[live\]"):
        live(Feed([]), record=tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_it_names_its_file() -> None:
    assert repr(ReplaySource("/a.jsonl.zst")) == "ReplaySource('/a.jsonl.zst')"


def test_the_space_of_structures_is_recorded_with_its_order(tmp_path: Path) -> None:
    space = spaces.Dict(OrderedDict(z=spaces.Discrete(3), a=spaces.Box(-1, 1, (2,), np.float32)))
    path, env = tmp_path / "session.jsonl.zst", Echo(space, spaces.Discrete(2))
    recorded = LivePipeline(EnvironmentSource(env), FlatAgent(), LivePipeline.every_n_steps(6), record=path)
    window = next(recorded.episodes())
    recorded.teardown()
    source = ReplaySource(path)
    assert source.observation_space == space
    assert list(source.observation_space.spaces) == ["z", "a"]
    again = next(LivePipeline(source, FlatAgent(), LivePipeline.every_n_steps(6)).episodes())
    np.testing.assert_array_equal(again.observations, window.observations)
    assert ReplaySource(tmp_path / "none").observation_space is None
