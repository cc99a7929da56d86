"""G33: several seeds, a population and a search end with the same result, whatever of them is killed, and how often."""

import contextlib
import os
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Goal
from tests.helpers import until
from tests.soak.faults._power import scratch
from tests.soak.faults._processes import children, is_there
from tests.soak.faults._side_by_side import KINDS, Jobs, fingerprint

KILLS = {"seeds": 17, "population": 17, "search": 16}
MEAN_EVENTS = 14
"""Between two kills: a generation of the population has 20, and begins again where the driver was killed."""


def killed_until_it_ends(jobs: Jobs, kind: str, folder: Path, most: int, rng: np.random.Generator) -> Counter[str]:
    """Let a job live, kill its workers and its driver at random moments, and go on with it; return what was killed."""
    killed = Counter[str]()
    while True:
        pid, seen, after, workers = 0, 0, int(rng.integers(1, 2 * MEAN_EVENTS)), set[int]()
        for message in jobs.start(kind, folder, int(rng.integers(2))):
            pid = message.get("pid", pid)
            seen += "event" in message
            if "event" in message:
                workers |= set(children(pid))
            if seen >= after and killed.total() < most:
                seen, after = 0, int(rng.integers(1, 2 * MEAN_EVENTS))
                time.sleep(float(rng.uniform(0.0, 0.05)))
                there = children(pid)
                is_worker = bool(there) and bool(rng.integers(2))
                victim = int(rng.choice(there)) if is_worker else pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed["worker" if is_worker else "driver"] += 1
            if "status" in message:
                until(lambda: not any(map(is_there, workers)))  # noqa: B023 - called at once
                if message["status"] == 0:
                    return killed
                assert message["status"] == -signal.SIGKILL, f"exit code {message['status']}"


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for workers in /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_killed_the_job_ends_with_the_same_result(
    kind: str, tmp_path: Path, fault_seed: int, goal: Goal
) -> None:
    rng, killed, wrong = np.random.default_rng([fault_seed, KINDS.index(kind)]), Counter[str](), 0
    with Jobs(tmp_path / "log") as jobs, scratch() as folder:
        assert killed_until_it_ends(jobs, kind, folder / "whole", 0, rng) == {}
        whole, lives = fingerprint(kind, folder / "whole"), 0
        while killed.total() < KILLS[kind]:
            lives += 1
            life = folder / f"life-{lives}"
            killed += killed_until_it_ends(jobs, kind, life, KILLS[kind] - killed.total(), rng)
            wrong += fingerprint(kind, life) != whole
    assert min(killed["worker"], killed["driver"]) >= KILLS[kind] // 5
    measured = f"{wrong} of {lives} differ; {killed['worker']} workers and {killed['driver']} drivers killed"
    goal("G33", f"{kind}: as without, after {KILLS[kind]} kill -9", measured, wrong == 0)
