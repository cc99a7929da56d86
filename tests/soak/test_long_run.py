"""A run that something happens to every half minute, for hours if asked to, ends as one that nothing happened to."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Goal
from tests.fakes.disturbed import FAULTS
from tests.soak.faults._processes import descendants, is_there

MODULE = "tests/fakes/disturbed.py"
ENVIRONMENT = f"{MODULE}:Disturbed"
N_ENVS, STEP_SECONDS = 8, 0.03
EVERY, SETTLED = 30.0, 5.0
"""Seconds from one fault to the next, and after which no process may be left of a run that was ended."""
TRAINING_SHARE = 0.6
"""Of the time; validation and what follows a fault take the rest."""
KILL, TERMINATE = "kill -9", "SIGTERM"
SETTINGS = (
    *("--algo", "ppo", "--framework", "torch", "--seed", "3", "--n-envs", str(N_ENVS), "--threads", "1"),
    # As long as it is told to: what stops by itself could not be compared.
    *("--dormant-threshold", "100000", "--no-escape", "--no-progress"),
)


@dataclass
class DisturbedRun:
    """A run, what is done to it, and the processes that outlived its ends."""

    run_dir: Path
    log: Path
    faults: Path
    """The folder where environments look for what is asked of them."""
    every: float | None
    """Seconds between two disturbances; none for an undisturbed run."""
    done: Counter[str] = field(default_factory=Counter[str])
    left: list[int] = field(default_factory=list[int])

    def train(self, steps: int, *settings: str) -> None:
        """Train for so many steps, and do one thing after the other to it."""
        kinds = itertools.cycle([*FAULTS, KILL, *FAULTS, TERMINATE])
        settings = (*SETTINGS, "--max-steps", str(steps), *settings)
        process = self._started("train", ENVIRONMENT, *settings, "--run-dir", str(self.run_dir))
        while self._is_ended_by_one_of(kinds, process, steps):
            process = self._started("resume", str(self.run_dir), "--no-progress", "--allow-module", MODULE)
        assert process.returncode == 0, self.log.read_text()[-3000:]

    def _started(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tensor_optix.cli", *arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - our own command

    def _is_ended_by_one_of(self, kinds: Iterator[str], process: subprocess.Popen[bytes], steps: int) -> bool:
        """Disturb a process until it is at its end, or ended; return whether it is to be resumed.

        The last tests begin anew where they are broken off, and may take longer than from one end to the next: they are
        only disturbed.
        """
        while True:
            try:
                process.wait(self.every)
            except subprocess.TimeoutExpired:
                kind = next(kinds)
            else:
                return False
            if kind in FAULTS:
                (self.faults / kind).touch()
            elif 0 < self._steps_so_far() < steps:
                self._end(process, signal.SIGKILL if kind == KILL else signal.SIGTERM)
            else:
                continue
            self.done[kind] += 1
            if kind not in FAULTS:
                return True

    def _steps_so_far(self) -> int:
        """Return the steps of the windows that are on record; 0 where nothing was saved that could go on."""
        windows = self.run_dir / "windows.jsonl"
        if not any(self.run_dir.glob("resume_[0-9]*")) or not windows.exists():
            return 0
        *_, last = [
            0,
            *(json.loads(line)["env_steps"] for line in windows.read_text().splitlines() if line[-1:] == "}"),
        ]
        return last

    def _end(self, process: subprocess.Popen[bytes], how: signal.Signals) -> None:
        workers = descendants(process.pid)
        process.send_signal(how)
        process.wait(60.0)
        time.sleep(SETTLED)
        self.left += filter(is_there, workers)

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.run_dir / "report.json").read_text())


def score_of(report: dict[str, Any]) -> tuple[float, float, float]:
    interval = report["best_interval"]
    return report["best_score"], interval["low"], interval["high"]


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_long_run_with_a_fault_every_half_minute_ends_as_one_without(
    tmp_path: Path, goal: Goal, request: pytest.FixtureRequest
) -> None:
    minutes = float(str(request.config.getoption("--soak-minutes")))
    folder = tmp_path / "faults"
    folder.mkdir()
    steps = int(TRAINING_SHARE * minutes * 60.0 / STEP_SECONDS * N_ENVS)
    calm = DisturbedRun(tmp_path / "calm", tmp_path / "calm.log", folder, every=None)
    run = DisturbedRun(tmp_path / "disturbed", tmp_path / "disturbed.log", folder, EVERY)
    kwargs = {"seconds": STEP_SECONDS, "folder": folder, "spared": os.getpid()}
    settings = [part for name, value in kwargs.items() for part in ("--env-kwargs", f"{name}={value}")]
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        trained = threads.submit(calm.train, steps)
        run.train(steps, "--async-envs", "--step-timeout", "5", *settings)
        took = time.monotonic() - begun
        trained.result()

    failed = {kind: sum(reasons.values()) for kind, reasons in run.report["failed_episodes"].items()}
    (score, low, high), (other, other_low, other_high) = score_of(calm.report), score_of(run.report)
    done = ", ".join(f"{count} {kind}" for kind, count in run.done.items())
    agree = low <= other_high and other_low <= high
    print(f"{took / 60.0:.0f} minutes; done: {done}; episodes that failed: {failed}; {calm.report=} {run.report=}")
    measured = f"{other:.1f} [{other_low:.1f}, {other_high:.1f}] of {score:.1f} [{low:.1f}, {high:.1f}]; {done}"
    what = f"{took / 60.0:.0f} minutes with a fault every {EVERY:g} s: the score of an undisturbed run, no process left"
    goal("G17", what, f"{measured}; {len(run.left)} left", agree and not run.left)
    assert run.report["env_steps"] >= steps
    assert sum(failed.values()) >= 0.5 * sum(run.done[kind] for kind in FAULTS)
