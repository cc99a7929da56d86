"""What every tracker keeps: each scalar once, in order, whatever becomes of the run and of the tracker."""

import logging
from pathlib import Path

import pytest

from tensor_optix.callbacks.trackers.tracker import Tracker
from tests.fakes.tracked_runs import add_turns, begin, cut_back, expected


def run_with(tracker: Tracker, run_dir: Path, first: int, last: int) -> None:
    """Let a run take some turns, from its start to its end."""
    tracker.follow(run_dir)
    tracker.on_loop_start()
    add_turns(run_dir, first, last)
    tracker.on_loop_stop()


class TrackerContract:
    def make(self, folder: Path) -> Tracker:
        """Return a new tracker, as a new process would have it; what it has written lies in the folder."""
        raise NotImplementedError

    def read(self, folder: Path) -> list[tuple[str, int, float]]:
        """Return what the tracker's own reader finds: (name, step, value), by name in the order of writing."""
        raise NotImplementedError

    def check(self, folder: Path) -> None:
        found, wanted = self.read(folder), sorted(expected(folder), key=lambda one: one[:2])
        assert len(found) == len(set(found))
        assert [one[:2] for one in found] == [one[:2] for one in wanted]
        assert [one[2] for one in found] == pytest.approx([one[2] for one in wanted], rel=1e-6)

    def test_every_scalar_is_there_once_in_order(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "tensor_optix"):
            run_with(self.make(tmp_path), begin(tmp_path), 0, 5)
        assert not caplog.messages
        self.check(tmp_path)

    def test_a_run_that_goes_on_adds_to_its_curves(self, tmp_path: Path) -> None:
        tracker = self.make(tmp_path)
        run_with(tracker, begin(tmp_path), 0, 3)
        run_with(tracker, tmp_path, 3, 5)
        self.check(tmp_path)

    def test_a_run_that_is_resumed_goes_on_where_its_state_was(self, tmp_path: Path) -> None:
        run_with(self.make(tmp_path), begin(tmp_path), 0, 5)
        cut_back(tmp_path, 3)
        run_with(self.make(tmp_path), tmp_path, 3, 7)
        self.check(tmp_path)

    def test_what_it_did_not_get_before_it_gets_when_the_run_is_resumed(self, tmp_path: Path) -> None:
        run_with(self.make(tmp_path), begin(tmp_path), 0, 3)
        add_turns(tmp_path, 3, 6)  # the tracker was not there any more
        run_with(self.make(tmp_path), tmp_path, 6, 8)
        self.check(tmp_path)

    def test_a_run_of_its_own_is_not_mixed_with_another(self, tmp_path: Path) -> None:
        run_with(self.make(tmp_path / "a"), begin(tmp_path / "a", "aaaa"), 0, 2)
        run_with(self.make(tmp_path / "b"), begin(tmp_path / "b", "bbbb"), 0, 4)
        self.check(tmp_path / "b")
