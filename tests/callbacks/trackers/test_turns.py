"""Reading a run's turns while it writes them."""

from pathlib import Path

from tensor_optix.callbacks.trackers.turns import RunFollower, last_steps
from tests.fakes.tracked_runs import BEGUN, add_turns, begin, cut_back


def test_each_turn_is_read_once_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    follower = RunFollower(begin(tmp_path))
    assert follower.read() == []
    add_turns(tmp_path, 0, 3)
    first, second, third = follower.read()
    assert [turn.env_steps for turn in (first, second, third)] == [100, 200, 300]
    assert first.evaluation is None
    assert second.evaluation is not None
    assert second.evaluation.window_id == 1
    assert (second.steps, second.total_seconds, second.time) == (100, 2.0, BEGUN.timestamp() + 1)
    assert (second.counts, third.counts) == ({}, {"fault": 1})
    assert follower.read() == []
    add_turns(tmp_path, 3, 4)
    (fourth,) = follower.read()
    assert (fourth.env_steps, fourth.counts, fourth.total_seconds) == (400, {"fault": 1}, 4.0)


def test_a_window_is_no_turn_before_its_time_is_told(tmp_path: Path) -> None:
    add_turns(begin(tmp_path), 0, 2)
    timings = tmp_path / "timings.jsonl"
    whole = timings.read_text()
    timings.write_text(whole[:-10])
    follower = RunFollower(tmp_path)
    assert [turn.window_id for turn in follower.read()] == [0]
    timings.write_text(whole)
    assert [turn.window_id for turn in follower.read()] == [1]


def test_few_turns_are_held_at_a_time(tmp_path: Path) -> None:
    add_turns(begin(tmp_path), 0, 5)
    follower = RunFollower(tmp_path)
    assert [[turn.window_id for turn in follower.read(2)] for _ in range(4)] == [[0, 1], [2, 3], [4], []]


def test_damaged_lines_and_windows_that_are_lost_are_left_out(tmp_path: Path) -> None:
    add_turns(begin(tmp_path), 0, 4)
    windows = (tmp_path / "windows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "windows.jsonl").write_text("".join([windows[0], "{damaged\n", "[1]\n", *windows[2:]]))
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"window_id": 3, "no": "record"}\n')
    found = RunFollower(tmp_path).read()
    assert [turn.window_id for turn in found] == [0, 2, 3]
    assert found[-1].evaluation is None


def test_the_steps_of_a_run_are_those_of_its_last_window(tmp_path: Path) -> None:
    assert last_steps(begin(tmp_path)) == 0
    add_turns(tmp_path, 0, 4)
    assert last_steps(tmp_path) == 400
    with (tmp_path / "windows.jsonl").open("a") as file:
        file.write('{"window_id": 4, "env_st')
    assert last_steps(tmp_path) == 400
    cut_back_to = 2
    (tmp_path / "windows.jsonl").write_text("".join((tmp_path / "windows.jsonl").read_text().splitlines(True)[:4]))
    cut_back(tmp_path, cut_back_to)
    assert last_steps(tmp_path) == 200
