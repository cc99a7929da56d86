"""G20 to G23: memory, descriptors, threads, disk and the cost of a window stay flat, however long a run is."""

import gc
import itertools
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.optimizer import RLOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, window_of

pytestmark = pytest.mark.xdist_group("timing")

Goal = Callable[[str, str, str, bool], None]
MIB = 2**20
MOST_RSS, MOST_LOGS, MOST_COST = 8 * MIB, 64 * MIB, 1.10


class Endless(BasePipeline):
    """Windows without end, whose scores rise for a while and then stay."""

    def __init__(self, leak: int = 0) -> None:
        self.leak, self.leaked = leak, []
        self.number = 0

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            self.number += 1
            if self.leak:
                self.leaked.append(bytearray(self.leak))
            yield window_of(float(min(self.number, 50)), self.number)


class Forgetful(NumpyAgent):
    """Keeps no list of what it learned from, unlike its base."""

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.learned.clear()
        return super().learn(episode_data)


class Meter(LoopCallback):
    """Looks at the process every so many windows."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.seen: list[dict[str, float]] = []

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        if window_id % self.every == 0:
            gc.collect()
            self.seen.append(
                {
                    "window": window_id,
                    "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
                    "descriptors": len(os.listdir("/proc/self/fd")),
                    "threads": threading.active_count(),
                    "seconds": time.process_time(),
                }
            )


def live(folder: Path, windows: int, leak: int = 0) -> list[dict[str, float]]:
    """Run in a fresh process: in a used one, growth finds room in what was freed before, and does not show."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_live, folder, windows, leak).result()


def _live(folder: Path, windows: int, leak: int) -> list[dict[str, float]]:
    meter = Meter(windows // 100)
    RLOptimizer(
        Forgetful(),
        Endless(leak),
        val_pipeline=None,
        evaluator=ScoreEvaluator(),
        checkpoint_dir=folder,
        max_episodes=windows,
        dormant_threshold=windows,  # it learns to the end
        callbacks=[meter],
        seed=0,
    ).run()
    return meter.seen


def median_of(seen: list[dict[str, float]], name: str) -> float:
    return statistics.median(sample[name] for sample in seen)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("windows", [1_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_nothing_grows(windows: int, tmp_path: Path, goal: Goal, timing: Goal) -> None:
    seen = live(tmp_path / "run", windows)
    early, late = seen[9:15], seen[-6:]
    growth = median_of(late, "rss") - median_of(early, "rss")
    goal("G20", f"at most 8 MiB from a tenth of {windows:,} windows on", f"{growth / MIB:+.2f} MiB", growth <= MOST_RSS)
    more = {name: median_of(late, name) - median_of(early, name) for name in ("descriptors", "threads")}
    goal("G21", "no descriptor and no thread more", str(more), not any(more.values()))
    disk = sum(file.stat().st_size for file in (tmp_path / "run").rglob("*") if file.is_file())
    litter = [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith((".tmp-", ".trash-"))]
    folders = len(list((tmp_path / "run").glob("snapshot_*")))
    measured = f"{folders} snapshots, {disk / MIB:.1f} MiB in all, litter: {len(litter)}"
    goal(
        "G23",
        "at most max_snapshots + 1 of 10, 64 MiB of logs, no litter",
        measured,
        folders <= 11 and disk <= MOST_LOGS and not litter,
    )
    if windows >= 1_000_000:  # a shorter run is all beginning
        costs = [after["seconds"] - before["seconds"] for before, after in itertools.pairwise(seen)]
        first, last = statistics.median(costs[:10]), statistics.median(costs[-10:])
        timing(
            "G22", "a window costs at most 1.1 x as much at the end", f"{last / first:.2f} x", last <= MOST_COST * first
        )
        assert last <= 4 * first  # a hundred times as many windows: what costs by their number would cost far more


@pytest.mark.slow
def test_a_planted_leak_is_found(tmp_path: Path) -> None:
    seen = live(tmp_path / "run", 100_000, leak=512)
    assert median_of(seen[-6:], "rss") - median_of(seen[9:15], "rss") > MOST_RSS
