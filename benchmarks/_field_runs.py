"""Runs of the command line that are kept: each in a process of its own, cut after its time, going on where it was cut.

The folder of a run holds the run directory `run`, the output `log.txt`, and `bench.json`: how it went so far.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import _machine
from benchmarks._field_verdicts import first_of_level
from benchmarks._results import Row
from benchmarks._suite import ROOT, Measurement, MeasurementError, Options, environment, run_python, run_python_within
from benchmarks._worlds import PREFIX
from tensor_optix.core.loop.history import read_history

RETEST_SEED = 77_000_003
"""Root of the seeds of the re-test's episodes, which no run knows."""
UNTRAINED_SHARE = 4
"""The untrained policy plays one episode for so many of the re-test."""
RETEST_SECONDS = 600.0
"""A re-test that takes longer is given up: the policy never ends an episode."""
CLOSING_SECONDS = 300.0
"""What a run has to end in after Ctrl-C."""
_POLL_SECONDS = 0.2
_INTERRUPTED = 130
_FAILED = (1, 2)
"""Exit codes of a crash and of bad input; each other one goes with a report."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How a run went so far."""

    seconds: float = 0.0
    """Spent in its processes."""
    commits: tuple[str, ...] = ()
    """Of the code that it ran on."""
    exit_code: int | None = None
    """Of the last process; None before its end."""
    is_cut: bool = False
    """True if its time was over before the run was."""


@dataclass(frozen=True, kw_only=True)
class KeptRun:
    """A run of `tensor-optix train ENV --seed SEED` and its folder."""

    folder: Path
    env: str
    seed: int
    arguments: tuple[str, ...] = ()
    """Further ones of `train`."""
    minutes: float | None = None
    """It is cut then, over all its processes; None = never."""
    command_line: tuple[str, ...] = ("-m", "tensor_optix.cli")
    """How Python runs it."""
    interrupt_after: int | None = None
    """Ctrl-C is sent to it after so many evaluations."""
    clock: Callable[[], float] = time.monotonic
    """Of its time, in seconds."""

    @property
    def run_dir(self) -> Path:
        """The folder that the command line is given."""
        return self.folder / "run"

    def discard(self) -> None:
        """Remove everything of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> Progress:
        """Begin it or go on with it, until it ends or is cut; one that has ended is left as it is.

        Raises:
            MeasurementError: it failed, or somebody else interrupted it.
        """
        progress = self._progress()
        if progress.exit_code is not None and not progress.is_cut:
            return progress
        if self.minutes is not None and progress.seconds >= 60.0 * self.minutes:
            return progress
        self.folder.mkdir(parents=True, exist_ok=True)
        is_begun = (self.run_dir / "run.json").exists()
        what = ["resume", str(self.run_dir)] if is_begun else ["train", self.env, "--seed", str(self.seed)]
        more = [] if is_begun else ["--run-dir", str(self.run_dir), *self.arguments]
        begun = self.clock()
        commits = dict.fromkeys([*progress.commits, _machine.commit() or "unknown"])
        progress = replace(progress, commits=tuple(commits), is_cut=False, exit_code=None)
        self._keep(progress)
        code, is_cut = self._run([*self.command_line, *what, *more, "--no-progress"], progress.seconds)
        progress = replace(progress, seconds=progress.seconds + self.clock() - begun, exit_code=code, is_cut=is_cut)
        is_meant = code != _INTERRUPTED or is_cut or self.interrupt_after is not None
        if not is_meant or code in _FAILED or code < 0:
            self._keep(replace(progress, exit_code=None))
            raise MeasurementError(f"{' '.join(what)} ended with {code} (--fresh begins anew): {self._log_tail()}")
        self._keep(progress)
        return progress

    def _run(self, command: list[str], spent: float) -> tuple[int, bool]:
        """Run a command and return its exit code, and whether its time was over."""
        is_cut, deadline = False, None if self.minutes is None else self.clock() + 60.0 * self.minutes - spent
        with (
            (self.folder / "log.txt").open("a") as log,
            subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment(), stdout=log, stderr=log) as run,
        ):
            try:
                while run.poll() is None:
                    is_cut = deadline is not None and self.clock() >= deadline
                    if is_cut or self._has_enough():
                        run.send_signal(signal.SIGINT)
                        run.wait(CLOSING_SECONDS)
                        break
                    time.sleep(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                raise MeasurementError(f"{self.env} did not end within {CLOSING_SECONDS:g} s of Ctrl-C") from None
            finally:
                run.kill()
        return run.returncode, is_cut and run.returncode == _INTERRUPTED

    def _has_enough(self) -> bool:
        if self.interrupt_after is None:
            return False
        history = self.run_dir / "history.jsonl"
        return history.exists() and history.read_bytes().count(b"\n") >= self.interrupt_after

    def _progress(self) -> Progress:
        path = self.folder / "bench.json"
        if not path.exists():
            return Progress()
        kept = json.loads(path.read_text())
        return Progress(**{**kept, "commits": tuple(kept["commits"])})

    def _keep(self, progress: Progress) -> None:
        (self.folder / "bench.json").write_text(json.dumps(asdict(progress)))

    def _log_tail(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace").strip()[-1000:]


def kept_run(env: str, seed: int, options: Options, name: str = "", **more: Any) -> KeptRun:
    """Return a run whose folder is named after it.

    Args:
        env: id of the environment.
        seed: of the run.
        options: where runs are kept, and when they are cut.
        name: tells it from the run with no flag but the seed, at which several suites look.
        more: fields of `KeptRun`.
    """
    folder = options.runs / f"{env.replace('/', '-')}{'-' * bool(name)}{name}-seed{seed}"
    if env.startswith(PREFIX):
        more = {"command_line": ("-m", "benchmarks._worlds"), **more}
    return KeptRun(folder=folder, env=env, seed=seed, minutes=options.minutes, **more)


def goes_on(row: Row, options: Options) -> bool:
    """Return True for the row of a run that was cut and is given more time now."""
    return row["cut"] and (options.minutes is None or 60.0 * options.minutes > row["seconds"] + 1.0)


def measurement(key: str, run: KeptRun, episodes: int, options: Options, *, is_left: bool = False) -> Measurement:
    """Return the measurement of a run.

    Args:
        key: its name.
        run: the run.
        episodes: of its re-test.
        options: what the suite was asked for.
        is_left: True to leave the run to another suite when it is measured.
    """
    discard = (lambda: None) if is_left else run.discard
    return Measurement(key, partial(measured, run, episodes), partial(goes_on, options=options), discard)


def measured(run: KeptRun, episodes: int) -> dict[str, Any]:
    """Finish a run, play its policy on fresh episodes, and return the row.

    Raises:
        MeasurementError: the run failed.
    """
    progress = run.finish()
    report = json.loads((run.run_dir / "report.json").read_text())
    interval, seconds = report["best_interval"] or {}, report["seconds"]
    untrained = _untrained(run, episodes // UNTRAINED_SHARE)
    path = run.run_dir / "history.jsonl"
    history = list(read_history(path)) if path.exists() else []  # Ctrl-C may come before the first evaluation
    row = {
        "env": run.env,
        "seed": run.seed,
        "arguments": list(run.arguments),
        "commit": "+".join(progress.commits),
        "reason": report["reason"],
        "exit_code": progress.exit_code,
        "cut": progress.is_cut,
        "stopped_because": report["stopped_because"],
        "seconds": progress.seconds,
        "env_steps": report["env_steps"],
        "evaluations": report["evaluations"],
        "validation_share": seconds["validate"] / seconds["total"] if seconds.get("total") else None,
        "reported": report["best_score"],
        "reported_std_err": report["best_std_err"],
        "reported_low": interval.get("low"),
        "reported_high": interval.get("high"),
        "reported_episodes": interval.get("episodes"),
        "confirmed": report["confirmed"],
        "untrained": untrained["mean"],
        "untrained_std_err": untrained["std_err"],
        **_retest(run, episodes),
    }
    first = None
    if row["retest"] is not None:
        scores = [record.eval_metrics.primary_score for record in history]
        first = first_of_level(scores, row["untrained"], row["retest"])
    after = {} if first is None else {"steps_to_level": history[first].env_steps, "evaluations_to_level": first + 1}
    return {**row, "steps_to_level": None, "evaluations_to_level": None, **after}


def _untrained(run: KeptRun, episodes: int) -> dict[str, float]:
    arguments = (str(run.run_dir), str(episodes), str(RETEST_SEED + 1))
    return json.loads(run_python("-m", "benchmarks._untrained", *arguments))


def _retest(run: KeptRun, episodes: int) -> dict[str, Any]:
    """Return the re-test's part of a row; its scores are None where it does not come to its end."""
    command = [*run.command_line, "evaluate", str(run.run_dir), "--json"]
    chosen = ("--episodes", str(episodes), "--seed", str(RETEST_SEED))
    names = {"mean": "retest", "std_err": "retest_std_err", "low": "retest_low", "high": "retest_high"}
    try:
        found = json.loads(run_python_within(RETEST_SECONDS, *command, *chosen))
    except MeasurementError as error:
        found = {"fault": str(error)}
    return {**{to: found.get(name) for name, to in names.items()}, "retest_fault": found.get("fault")}
