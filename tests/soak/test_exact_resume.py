"""G5, G6, G16: a run that is cut off goes on, bit for bit, as the run that was not."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.soak.faults._resuming import Runs

Goal = Callable[[str, str, str, bool], None]
LONGEST_EXIT = 10.0
SLOW = pytest.mark.slow


@dataclass
class Cut:
    """What a run did that was cut off."""

    status: int
    seconds: float
    """From the signal to its end."""
    lost: int = 0
    """Windows that were completed and had to be lived again."""


@pytest.fixture(params=[False, pytest.param(True, marks=SLOW)], ids=["quick", "full"])
def is_full(request: pytest.FixtureRequest) -> bool:
    return request.param


def uninterrupted(runs: Runs, directory: Path, windows: int) -> str:
    messages = list(runs.start(directory, windows))
    assert messages[-1] == {"status": 0}, messages[-3:]
    return messages[-2]["end"]


def cut_off(
    runs: Runs,
    directory: Path,
    windows: int,
    cuts: int,
    rng: np.random.Generator,
    send: Callable[[int, np.random.Generator], object],
) -> tuple[str, list[Cut]]:
    """Live a run that is cut off at random moments; return its fingerprint, and what each cut came to.

    `send` gets the pid of a run in progress, and does to it what it does.
    """
    found: list[Cut] = []
    last, mean = -1, max(windows // (cuts + 1), 1)
    for cut in range(cuts + 1):
        pid, seen, end, sent = 0, 0, None, 0.0
        after = int(rng.integers(1, 2 * mean)) if cut < cuts else windows + 1
        for message in runs.start(directory, windows):
            pid = message.get("pid", pid)
            end = message.get("end", end)
            if "window" in message:
                if seen == 0 and found:
                    found[-1].lost = last + 1 - message["window"]
                seen, last = seen + 1, message["window"]
                if seen == after:
                    time.sleep(float(rng.uniform(0.0, 0.02)))
                    sent = time.monotonic()
                    send(pid, rng)
            if "status" in message and sent:
                found.append(Cut(message["status"], time.monotonic() - sent))
            elif "status" in message:
                assert message["status"] == 0
        if end is not None and (cut == cuts or not sent or found[-1].status == 0):
            return end, found
    raise AssertionError("the last start was not cut off, and did not come to its end")


def kill(pid: int, rng: np.random.Generator) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def ask_to_stop(pid: int, rng: np.random.Generator) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM if rng.random() < 0.5 else signal.SIGINT)


def ask_twice(pid: int, rng: np.random.Generator) -> None:
    ask_to_stop(pid, rng)
    time.sleep(float(rng.uniform(0.0, 0.003)))
    ask_to_stop(pid, rng)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["numpy", pytest.param("torch", marks=SLOW), pytest.param("tf", marks=SLOW)])
def test_kills_leave_no_trace(kind: str, tmp_path: Path, goal: Goal, is_full: bool) -> None:
    windows, kills = (200, 20) if is_full else (60, 5)
    with Runs(kind) as runs:
        whole = uninterrupted(runs, tmp_path / "whole", windows)
        other = uninterrupted(runs, tmp_path / "other", windows - 1)
        found, _ = cut_off(runs, tmp_path / "cut", windows, kills, np.random.default_rng(7), kill)
    goal("G6", f"{kind}: as without, after {kills} kill -9", "equal" if found == whole else "another", found == whole)
    assert found == whole
    assert other != whole  # what is compared does tell runs apart


def test_a_kill_costs_one_window_where_saving_one_is_cheap(tmp_path: Path, goal: Goal, is_full: bool) -> None:
    windows, kills = (80, 15) if is_full else (9, 2)
    with Runs("slow") as runs:
        _, cuts = cut_off(runs, tmp_path, windows, kills, np.random.default_rng(8), kill)
    most = max(cut.lost for cut in cuts)
    goal("G5", "at most 1 window lost by a kill", f"at most {most} in {len(cuts)} kills", most <= 1)
    assert most <= 1


@pytest.mark.timeout(600)
def test_a_signal_ends_a_run_that_can_be_resumed(tmp_path: Path, goal: Goal, is_full: bool) -> None:
    repeats, windows, cuts = (26, 60, 10) if is_full else (1, 40, 4)
    rng = np.random.default_rng(9)
    with Runs("numpy") as runs:
        whole = uninterrupted(runs, tmp_path / "whole", windows)
        all_cuts, wrong = [], 0
        for repeat in range(repeats + max(repeats // 5, 1)):
            send = ask_to_stop if repeat < repeats else ask_twice
            end, found = cut_off(runs, tmp_path / f"cut{repeat}", windows, cuts, rng, send)
            wrong += end != whole
            all_cuts += found
    longest = max(cut.seconds for cut in all_cuts)
    codes = sorted({cut.status for cut in all_cuts})
    measured = f"{wrong} of {repeats} runs differ after {len(all_cuts)} signals, at most {longest:.2f} s, codes {codes}"
    holds = not wrong and longest <= LONGEST_EXIT and set(codes) <= {0, 130, 143}
    goal("G16", "resumable after SIGTERM, SIGINT and two of them; exit within 10 s", measured, holds)
    assert holds, measured
