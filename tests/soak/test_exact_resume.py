"""G5, G6, G10, G16: a run that is cut off goes on, bit for bit, as the run that was not; and what that costs."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer, make_agent
from tensor_optix.core.storage.resume_ring import ResumeRing
from tests.helpers import HANG_S
from tests.soak.faults._ledger import litter_in
from tests.soak.faults._power import scratch
from tests.soak.faults._resuming import MEMBERS, SPAWNS, SWITCHING, Runs
from tests.soak.faults._watched import STEPS

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
    """Windows that were completed and had to be collected again."""
    windows: list[dict[str, Any]] = field(default_factory=list)
    """What was told of those before it."""


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
    mean: int = 0,
) -> tuple[str, list[Cut]]:
    """Live a run that is cut off at random moments; return its fingerprint, and what each cut came to.

    `send` gets the pid of a run in progress, and does to it what it does. Cuts are `mean` windows apart, by default
    such that all of them fit in.
    """
    found: list[Cut] = []
    last, mean = -1, mean or max(windows // (cuts + 1), 1)
    for cut in range(cuts + 1):
        pid, seen, end, sent, told = 0, 0, None, 0.0, []
        after = int(rng.integers(1, 2 * mean)) if cut < cuts else windows + 1
        for message in runs.start(directory, windows):
            pid = message.get("pid", pid)
            end = message.get("end", end)
            if "window" in message:
                if seen == 0 and found:
                    found[-1].lost = last + 1 - message["window"]
                seen, last = seen + 1, message["window"]
                told.append(message)
                if seen == after:
                    time.sleep(float(rng.uniform(0.0, 0.02)))
                    sent = time.monotonic()
                    send(pid, rng)
            if "status" in message and sent:
                found.append(Cut(message["status"], time.monotonic() - sent, windows=told))
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
@pytest.mark.parametrize(
    ("kind", "is_full"),
    [("numpy", False), *(pytest.param(kind, True, marks=SLOW) for kind in ("numpy", "torch", "tf"))],
)
def test_kills_leave_no_trace(kind: str, tmp_path: Path, goal: Goal, is_full: bool) -> None:
    windows, kills = (200, 20) if is_full else (30, 3)
    with Runs(kind) as runs:
        whole = uninterrupted(runs, tmp_path / "whole", windows)
        other = uninterrupted(runs, tmp_path / "other", windows - 1)
        found, _ = cut_off(runs, tmp_path / "cut", windows, kills, np.random.default_rng(7), kill)
    goal("G6", f"{kind}: as without, after {kills} kill -9", "equal" if found == whole else "another", found == whole)
    assert found == whole
    assert other != whole  # what is compared does tell runs apart


def killed_after(
    runs: Runs, directory: Path, windows: int, chosen: set[int], rng: np.random.Generator
) -> tuple[dict[str, Any], list[int]]:
    """Live a run that is killed after chosen windows; return its last words, and where it was killed."""
    left, killed = set(chosen), []
    while True:
        pid = 0
        for message in runs.start(directory, windows):
            pid = message.get("pid", pid)
            if "end" in message:
                return message, killed
            if message.get("window") in left:
                left.remove(message["window"])
                killed.append(message["window"])
                time.sleep(float(rng.uniform(0.0, 0.01)))
                kill(pid, rng)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # each start compiles; SAC's three graphs take longest
@pytest.mark.parametrize("kind", SWITCHING)
def test_kills_before_and_after_the_updates_are_compiled_leave_no_trace(kind: str, tmp_path: Path, goal: Goal) -> None:
    windows, rng = 16, np.random.default_rng(12)
    with Runs(kind) as runs:
        told = list(runs.start(tmp_path / "whole", windows))
        whole = told[-2]["end"]
        switch = next(message["window"] for message in told if message.get("compiled"))
        # Minibatches of one size alone run compiled, and every second window has the other.
        chosen = {switch - 3, switch - 1, switch, switch + 1, switch + 4}
        end, killed = killed_after(runs, tmp_path / "cut", windows, chosen, rng)
    with Runs(kind, compiles=False) as runs:
        assert uninterrupted(runs, tmp_path / "eager", windows) != whole  # the other program is told apart
    same, after = end["end"] == whole, sum(window >= switch for window in killed)
    assert len(killed) - after >= 2
    assert after >= 3
    promised = f"{kind}: as without, after kill -9 before and after its updates are compiled"
    goal("G6", promised, f"{'equal' if same else 'another'}, {len(killed) - after} kills before, {after} after", same)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "is_full"), [("turns", False), *(pytest.param(kind, True, marks=SLOW) for kind in ("turns", "shadow"))]
)
def test_kills_on_watch_and_in_a_trial_leave_no_trace(kind: str, tmp_path: Path, goal: Goal, is_full: bool) -> None:
    windows, most = 130, 40 if is_full else 10
    rng = np.random.default_rng(11)
    with Runs(kind) as runs:
        told = list(runs.start(tmp_path / "whole", windows))
        whole = told[-2]
        assert whole["items"]["received"] == whole["items"]["learned"] == windows * STEPS
        watch = {message["window"]: message["watch"] for message in told if "window" in message}
        assert watch[windows - 1]["promotions"] == 1, "there was no trial to be killed in"
        watched = [w for w in watch if watch[w].get("windows", 0) > watch.get(w - 1, {}).get("windows", 0)]
        trial = [w for w in watched if watch[w].get("trials", 0) > watch[w].get("promotions", 0)]
        calm = [w for w in watched if w not in trial]
        woken = next(w for w in watch if watch[w].get("drifts"))
        settled = next(w for w in watch if watch[w].get("promotions"))
        chosen = {trial[0] - 1, *trial, settled, woken - 1, woken, woken + 1, *map(int, rng.choice(calm, most))}
        left = chosen if is_full else set(sorted(chosen)[:: len(chosen) // most])
        found, killed = killed_after(runs, tmp_path / "cut", windows, left, rng)
    in_trial, on_watch = len(set(killed) & set(trial)), len(set(killed) & set(calm))
    assert in_trial >= 2
    assert on_watch >= 2
    same = found == whole
    promised = f"{kind}: as without, after kill -9 on watch and in a trial"
    measured = f"{'equal' if same else 'another'}, {on_watch} kills on watch, {in_trial} in the trial"
    goal("G6", promised, measured, same)


def left_behind(directory: Path) -> list[str]:
    """Return what is in the directory of an evolving run beyond what its state names."""
    point = ResumeRing(directory).newest()
    if point is None:
        return []
    named = set(point.state["callbacks"]["PolicyManagerCallback"]["agents"])
    files = {path.name for path in point.folder.iterdir()} - {"state.json", "metadata.json", "agent"}
    snapshots = len(list(directory.glob("snapshot_*")))
    return (
        sorted(files - named)
        + [f"{len(named)} agents"] * (len(named) > MEMBERS + 2)
        + [f"{snapshots} snapshots"]
        * (
            snapshots > 10 + 2  # the newest ten, the best, and what a variant began as
        )
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_variants_leave_nothing_behind(goal: Goal) -> None:
    kills, windows, left = 100, 5000, []

    def kill_and_look(pid: int, rng: np.random.Generator) -> None:
        kill(pid, rng)
        left.extend(left_behind(folder / "cut"))

    with Runs("evolving") as runs, scratch() as folder:
        whole = uninterrupted(runs, folder / "whole", windows)
        end, cuts = cut_off(runs, folder / "cut", windows, kills, np.random.default_rng(10), kill_and_look, 6)
        left += left_behind(folder / "cut") + litter_in(folder / "cut")
    told = [message for cut in cuts for message in cut.windows]
    most, spawns = max(message["members"] for message in told), max(message["spawns"] for message in told)
    measured = (
        f"at most {most} members, {spawns} spawns before the last of {len(cuts)} kills, {len(left)} left behind "
        f"{left[:1]}, {'equal to the run that was not killed' if end == whole else 'another run'}"
    )
    holds = most <= MEMBERS + 1 and spawns <= SPAWNS and not left and end == whole and len(cuts) == kills
    promised = f"{SPAWNS} spawns, {kills} kills: never more than {MEMBERS} members and the learner, nothing left behind"
    goal("4b variants", promised, measured, holds)


@pytest.mark.slow
@pytest.mark.xdist_group("timing")
def test_saving_costs_a_small_share_of_the_time_of_a_short_run_too(tmp_path: Path, timing: Goal) -> None:
    shares = []
    for window_size, windows in ((2048, 10), (200, 60)):
        agent = make_agent("CartPole-v1", "ppo", "torch", seed=0)
        optimizer = RLOptimizer(
            agent,
            BatchPipeline(gym.make("CartPole-v1"), agent, window_size=window_size),
            checkpoint_dir=tmp_path / str(window_size),
            max_episodes=windows,
            dormant_threshold=windows,
            seed=0,
        )
        begun = time.perf_counter()
        optimizer.run()
        shares.append(optimizer._keeper.seconds / (time.perf_counter() - begun))
        assert 0 < shares[-1] < 1
    measured = f"{shares[0]:.1%} with the 2,048 steps of the default, {shares[1]:.1%} with 200"
    # Each new best is saved whatever it costs, and a run has most of them at its beginning.
    timing(
        "G10 saving", "<= 5 % of the time of a short run, with a save for each new best", measured, max(shares) <= 0.05
    )


@pytest.mark.xdist_group("timing")
def test_a_kill_costs_one_window_where_saving_one_is_cheap(goal: Goal, is_full: bool) -> None:
    windows, kills = (60, 15) if is_full else (6, 1)
    # In memory: a disk that others keep busy could take more than the hundredth of a window.
    with Runs("slow") as runs, scratch() as folder:
        _, cuts = cut_off(runs, folder / "run", windows, kills, np.random.default_rng(8), kill)
    most = max(cut.lost for cut in cuts)
    goal("G5", "at most 1 window lost by a kill", f"at most {most} in {len(cuts)} kills", most <= 1)
    assert most <= 1


@pytest.mark.timeout(600)
def test_a_signal_ends_a_run_that_can_be_resumed(tmp_path: Path, goal: Goal, timing: Goal, is_full: bool) -> None:
    repeats, windows, cuts = (26, 60, 10) if is_full else (1, 24, 3)
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
    measured = f"{wrong} of {repeats} runs differ after {len(all_cuts)} signals, codes {codes}"
    holds = not wrong and set(codes) <= {0, 130, 143}
    goal("G16", "resumable after SIGTERM, SIGINT and two of them", measured, holds)
    timing("G16 seconds", f"exit within {LONGEST_EXIT:.0f} s", f"at most {longest:.2f} s", longest <= LONGEST_EXIT)
    assert longest <= HANG_S
