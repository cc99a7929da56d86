"""The records of a run as a loop leaves them, turn by turn; as a program, a run that tracks itself and is killed."""

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tensor_optix.callbacks.trackers.choosing import trackers_of
from tensor_optix.callbacks.trackers.scalars import scalars
from tensor_optix.callbacks.trackers.turns import RunFollower
from tensor_optix.core.storage.line_log import EVENTS, HISTORY, TIMINGS, WINDOWS, LineLog
from tests.fakes.run_folders import history_line, tuned

STEPS = 100
"""Of a window."""
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def begin(run_dir: Path, run_id: str = "abc123") -> Path:
    """Make the folder of a run."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "run.json").write_text(json.dumps({"env": "Toy-v0", "hyperparams": {"gamma": 0.9}, "run_id": run_id}))
    return run_dir


def add_turns(run_dir: Path, first: int, last: int, **window: Any) -> None:
    """Append the turns from `first` to `last` exclusively; every second window is evaluated."""
    for number in range(first, last):
        at = {"window_id": number, "env_steps": STEPS * (number + 1)}
        diagnostics = {"entropy": 0.5, "approx_kl": 0.01, "own thing": float(number)}
        line = {
            **at,
            "episodes": 3,
            "mean_return": 1.5 * number,
            "mean_length": 9.0,
            "diagnostics": diagnostics,
            **window,
        }
        _append(run_dir, WINDOWS, line)
        if number % 2:
            _append(run_dir, HISTORY, history_line(number, float(number), tuning=[tuned()] if number == 1 else []))
        if number == 2:
            _append(run_dir, EVENTS, {"event": "fault", **at, "fault": "learn", "text": "x"})
        time = (BEGUN + timedelta(seconds=number)).isoformat(timespec="milliseconds")
        _append(run_dir, TIMINGS, {"window_id": number, "time": time, "seconds": {"collect": 0.5, "learn": 0.5}})


def cut_back(run_dir: Path, turns: int) -> None:
    """Go back to where a run had taken so many turns, as a resumed run does."""
    for name in (WINDOWS, HISTORY, EVENTS, TIMINGS):
        path = run_dir / name
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if json.loads(line)["window_id"] < turns))


def expected(run_dir: Path, names: Any = "sb3") -> list[tuple[str, int, float]]:
    """Return all scalars of a run, as (name, step, value), in order."""
    turns = RunFollower(run_dir).read(most=10**6)
    return [(name, turn.env_steps, value) for turn in turns for name, value in scalars(turn, names).items()]


def _append(run_dir: Path, name: str, line: dict[str, Any]) -> None:
    log = LineLog(run_dir / name)
    log.append(line)
    log.close()


if __name__ == "__main__":  # RUN_DIR TRACKER FIRST LAST, and whether it is killed
    folder, tracker_name, first, last, is_killed = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    (tracker,) = trackers_of(tracker_name)
    tracker.follow(folder)
    tracker.on_loop_start()
    add_turns(folder, first, last)
    tracker.on_loop_stop()  # all is sent, and as much on disk as the tracker's own library likes
    if is_killed:
        add_turns(folder, last, last + 2)
        tracker.on_loop_start()
        os.kill(os.getpid(), signal.SIGKILL)
