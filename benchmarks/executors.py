"""What an executor costs per job: weak scaling by simulation, with members that only sleep."""

import math
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any

from benchmarks._results import Row, table
from benchmarks._suite import Measurement, Options
from tensor_optix.executors import Executor, InProcess, Payload, Processes

TITLE = "Executors: cost per job"
MEMBERS = (1, 8, 64, 512)
NAP = 0.02
"""Seconds that a member sleeps."""
WEIGHTS = b"w" * 65_536
"""What it brings and takes along."""
EXECUTORS = {"InProcess": (InProcess, 1), "Processes(2)": (partial(Processes, 2), 2)}
JOB = "benchmarks._executor_jobs:nap"


def plan(options: Options) -> Iterator[Measurement]:
    """Return each executor with each number of members."""
    for name in EXECUTORS:
        for members in MEMBERS:
            for repetition in range(options.rounds):
                yield Measurement(f"{name}/{members}/{repetition}", partial(_measure, name, members))


def _measure(name: str, members: int) -> dict[str, Any]:
    make, workers = EXECUTORS[name]
    with make() as executor:
        executor.map(JOB, [Payload(0.0)] * workers)  # workers start with the first job
        before = _peak_kib()
        seconds, of_driver = _timed(executor, members)
        grown = _peak_kib() - before
    overhead = (seconds - math.ceil(members / workers) * NAP) / members
    return {
        "executor": name,
        "members": members,
        "ms_per_job": 1000 * overhead,
        "driver_cpu_ms_per_job": 1000 * of_driver / members,
        "driver_grew_kib": grown,
    }


def _timed(executor: Executor, members: int) -> tuple[float, float]:
    """Return the seconds that all members take, and those that this process works for them."""
    items = [Payload(NAP, {"weights": WEIGHTS})] * members
    begun, begun_cpu = time.perf_counter(), time.process_time()
    executor.map(JOB, items)
    return time.perf_counter() - begun, time.process_time() - begun_cpu


def _peak_kib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else float(peak)


def render(rows: Sequence[Row]) -> list[str]:
    """Return the median cost per job, which should be 5 ms at most, and how far the driver has grown."""
    lines = []
    for name in EXECUTORS:
        for members in MEMBERS:
            those = [row for row in rows if (row["executor"], row["members"]) == (name, members)]
            if those:
                costs = [
                    f"{median(row[kind] for row in those):.2f}" for kind in ("ms_per_job", "driver_cpu_ms_per_job")
                ]
                grown = max(row["driver_grew_kib"] for row in those)
                lines.append([name, str(members), *costs, f"{grown / 1024:.1f}"])
    head = (
        "Executor",
        "Members",
        "Milliseconds per job",
        "of them the driver's processor",
        "Driver grew by, MiB (results of 64 KiB a member included)",
    )
    return table(head, lines)
