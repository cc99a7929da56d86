"""G6: a run of vector, validation, tuning, evolution and ensemble that is killed anywhere leaves the same files."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Goal
from tests.soak.faults._everything import told
from tests.soak.faults._resuming import Runs

RESUME, WINDOW, TESTS, END = "resume", "window", "last tests", "end"
SLOW = pytest.mark.slow


@dataclass
class Whole:
    """The run that nobody killed, and the seconds of its parts."""

    windows: int
    seconds: dict[str, float]


def uninterrupted(runs: Runs, directory: Path, windows: int) -> Whole:
    at: list[float] = []
    restored = begun = time.monotonic()
    for message in runs.start(directory, windows):
        if "restored" in message:
            restored = time.monotonic()
        if "window" in message:
            at.append(time.monotonic())
        assert not message.get("status")
    turn, tests = (at[-1] - at[0]) / len(at), time.monotonic() - at[-1]
    return Whole(len(at), {RESUME: restored - begun, WINDOW: turn, TESTS: tests})


def plan(windows: int, kills: int) -> Iterator[tuple[str, int]]:
    """Yield where each start is killed, and after which window: six of ten in turns, three in resumes, one in tests."""
    for number, window in enumerate(np.linspace(1, windows - 2, kills * 6 // 10).astype(int)):
        yield WINDOW, int(window)
        if number % 2:
            yield RESUME, -1  # a state that is killed three times in a row while it is restored would be passed over
    for _ in range(kills // 10):
        yield TESTS, windows - 1
    yield END, -1


def killed(runs: Runs, directory: Path, whole: Whole, windows: int, kills: int, seed: list[int]) -> Counter[str]:
    """Let a run be killed as planned, and come to its end; return how often it was killed where."""
    found: Counter[str] = Counter()
    rng, newest = np.random.default_rng(seed), -1
    for place, window in plan(whole.windows, kills):
        pid, left = 0, place != END
        for message in runs.start(directory, windows):
            pid, newest = message.get("pid", pid), max(newest, message.get("window", -1))
            is_there = newest >= window and (place == RESUME or "restored" in message or "window" in message)
            if left and is_there:
                left = False
                time.sleep(float(rng.uniform(0.0, whole.seconds[place])))
                with contextlib.suppress(ProcessLookupError):  # it was quicker
                    os.kill(pid, signal.SIGKILL)
            if "status" in message:
                found[place] += message["status"] < 0
                assert message["status"] <= 0
    return found


def differences(one: Path, other: Path) -> list[str]:
    expected, found = told(one), told(other)
    assert len(expected) > 10
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("kind", "windows", "kills"),
    [
        ("everything", 10, 6),
        *(pytest.param(kind, 400, 110, marks=SLOW) for kind in ("everything", "everything together")),
    ],
)
def test_kills_anywhere_leave_the_files_of_the_run_that_was_not_killed(
    kind: str, windows: int, kills: int, tmp_path: Path, goal: Goal, fault_seed: int
) -> None:
    with Runs(kind) as runs:
        whole = uninterrupted(runs, tmp_path / "whole", windows)
        found = killed(runs, tmp_path / "cut", whole, windows, kills, [13, fault_seed])
    other = differences(tmp_path / "whole", tmp_path / "cut")
    places = ", ".join(f"{count} in {place}" for place, count in found.items() if count)
    what = f"{kind}: vector, validation, tuning, evolution: all files as without, after kill -9"
    measured = f"{len(other)} files differ {other[:2]}; {found.total()} kills, {places}"
    goal("G6", what, measured, not other)
    assert found[WINDOW] >= kills // 3


@SLOW
def test_an_agent_that_loses_its_generator_is_told(tmp_path: Path) -> None:
    with Runs("everything forgetful") as runs:
        whole = uninterrupted(runs, tmp_path / "whole", 8)
        killed(runs, tmp_path / "cut", whole, 8, 5, [1])
    assert "windows.jsonl" in differences(tmp_path / "whole", tmp_path / "cut")
