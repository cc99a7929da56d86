"""The thread between a run and a tracker: it never waits, never fails the run, and says once what is wrong."""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tensor_optix.callbacks.trackers.tracker import Point, Sent, TrackedRun, Tracker, tracked_run
from tensor_optix.errors import InvalidArgumentError
from tests.contracts.tracker_contract import TrackerContract, run_with
from tests.fakes.tracked_runs import add_turns, begin, expected


class Recording(Tracker):
    """Keeps points in lists that outlive it; fails as often as it is told to, and stops while it is held."""

    def __init__(self, kept: list[Point], failures: int = 0, patience: float = 60.0) -> None:
        super().__init__(pause=0.001, patience=patience)
        self.kept, self.failures, self.opened = kept, failures, 0
        self.held, self.is_writing = threading.Event(), threading.Event()
        self.held.set()

    def open(self, run: TrackedRun) -> Sent:
        self.opened += 1
        return Sent(max((point.step for point in self.kept), default=-1))

    def write(self, points: Sequence[Point]) -> None:
        self.is_writing.set()
        self.held.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("https://user:secret@tracker.example is not reached\nmore")
        self.kept += points

    def close(self) -> None: ...


class TestItself(TrackerContract):
    kept: list[Point]

    def make(self, folder: Path) -> Tracker:
        if not hasattr(self, "kept") or folder.name == "b":
            self.kept = []
        return Recording(self.kept)

    def read(self, folder: Path) -> list[tuple[str, int, float]]:
        return sorted((n, p.step, v) for p in self.kept for n, v in p.values.items())


def test_one_that_fails_is_tried_again_and_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Point] = []
    tracker = Recording(kept, failures=3)
    tracker.follow(begin(tmp_path))
    add_turns(tmp_path, 0, 3)
    with caplog.at_level(logging.WARNING, "tensor_optix"):
        tracker.on_loop_start()
        while tracker.opened < 4:
            tracker.is_writing.wait()
        tracker.on_loop_stop()
    (said,) = caplog.messages
    assert "Recording takes no scalars at present: ConnectionError: https://***@tracker.example is not reached." in said
    assert [(n, p.step, v) for p in kept for n, v in p.values.items()] == expected(tmp_path)


def test_one_that_hangs_does_not_hold_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Recording([], patience=0.0)
    tracker.held.clear()
    with caplog.at_level(logging.WARNING, "tensor_optix"):
        run_with(tracker, begin(tmp_path), 0, 2)
    assert "Recording is still busy; what it does not get before the program ends, it gets" in caplog.text
    tracker.held.set()


def test_without_a_run_nothing_is_sent() -> None:
    tracker = Recording([])
    tracker.on_loop_start()
    tracker.on_loop_stop()
    assert tracker.opened == 0


def test_a_run_is_known_by_its_id_or_else_by_its_folder(tmp_path: Path) -> None:
    assert tracked_run(begin(tmp_path / "pendulum")).run_id == "abc123"
    (tmp_path / "pendulum" / "run.json").write_text('{"env_kwargs": {"url": "https://me:secret@x.example"}}')
    run = tracked_run(tmp_path / "pendulum")
    assert (run.run_id, run.name, run.config) == ("pendulum", "pendulum", {"env_kwargs.url": "https://***@x.example"})
    (tmp_path / "pendulum" / "run.json").write_text("{damaged")
    assert tracked_run(tmp_path / "pendulum").config == {}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="names must be one of"):
        Tracker.__init__(Recording([]), "rllib")  # type: ignore[arg-type]
