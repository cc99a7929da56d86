"""What a run writes for whoever looks at it later: nothing here is read by a decision.

    events.jsonl       what was decided and what happened: tests, states, rollbacks, faults, escapes, variants, resumes
    windows.jsonl      one line per window of training: what `learn` told, and the episodes that ended in it
    timings.jsonl      likewise: when it ended, and where the time since the line before went; the only one with a clock
    environment.json   the versions, the processor and the command line of the newest start
    report.json        what the run came to, once it has ended

A run that never ends must not fill the disk: of the windows from the 16,384th on, two of these files have every second,
of those from twice as many on every fourth, and so on. The first two files repeat with the run, bit for bit. All lines
are cut back on resume to where the saved state was.
"""

import math
import os
import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.loop.guard import Health
from tensor_optix.core.storage.atomic import encode_json, replace_file, storage_errors
from tensor_optix.core.storage.line_log import ENVIRONMENT, EVENTS, REPORT, TIMINGS, WINDOWS, LineLog
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EpisodeData, jsonable
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.packages import OURS, version_of
from tensor_optix.support.redact import redacted

_PACKAGES = (*OURS, "numpy", "gymnasium", "torch", "tensorflow", "keras", "safetensors")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WRITTEN_WHOLE = 16_384
"""Windows that have a line each; of each twice as many after them, half as many lines."""
_MOST_ARGUMENT = 500
"""Characters of a command-line argument that are kept."""


def has_lines(window_id: int) -> bool:
    """Return whether a window has lines of its own; a million windows have 65,000.

    Args:
        window_id: its number.
    """
    return window_id % (1 << (window_id // _WRITTEN_WHOLE).bit_length()) == 0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class RunRecords:
    """Writes the records of a run; a disk that takes none is counted and said, and the run goes on.

    Args:
        directory: of the run.
        now: the wall clock.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime] = _utc_now) -> None:
        self._directory = directory
        self._now = now
        self._logs = {name: LineLog(directory / name) for name in (EVENTS, WINDOWS, TIMINGS)}
        self._told: dict[str, float] = {}
        """Seconds by part of the loop, up to the window that was told last."""
        self.health = Health()
        """Where what the disk refuses is counted; the run puts its own here."""

    def begin(self, seconds: Mapping[str, float], command: list[str] | None = None) -> None:
        """Write on what the run runs, as of this start.

        Args:
            seconds: that earlier starts have spent, by part of the loop.
            command: the command line; None = that of the process.
        """
        self._told = dict(seconds)
        with self.health.surviving_storage("write the records", "records"):
            described = describe_environment(sys.argv if command is None else command)
            with storage_errors("write", self._directory):
                replace_file(self._directory / ENVIRONMENT, encode_json(described))

    def event(self, kind: str, window_id: int, env_steps: int, facts: Mapping[str, object]) -> None:
        """Write that something was decided, or happened.

        Args:
            kind: what it was.
            window_id: in which window.
            env_steps: training steps by then.
            facts: what else is to be told.
        """
        told = {name: jsonable(value) for name, value in facts.items()}
        self._append(EVENTS, {"event": kind, "window_id": window_id, "env_steps": env_steps, **told})

    def window(self, data: EpisodeData, window_id: int, env_steps: int, diagnostics: Mapping[str, object]) -> None:
        """Write what a window of training was like.

        Args:
            data: the window.
            window_id: its number.
            env_steps: training steps by its end.
            diagnostics: what `learn` told of it.
        """
        if not has_lines(window_id):
            return
        episodes = data.completed_episodes()
        returns = [episode.total_return for episode in episodes]
        successes = [episode.success for episode in episodes if episode.success is not None]
        self._append(
            WINDOWS,
            {
                "window_id": window_id,
                "env_steps": env_steps,
                "episodes": len(episodes),
                "mean_return": jsonable(float(np.mean(returns))) if returns else None,
                "mean_length": float(np.mean([episode.length for episode in episodes])) if episodes else None,
                **({"success_rate": float(np.mean(successes))} if successes else {}),
                "diagnostics": _numbers(diagnostics),
            },
        )

    def timing(self, window_id: int, seconds: Mapping[str, float]) -> None:
        """Write when a window ended, and what has been spent since the one before.

        Args:
            window_id: its number.
            seconds: of the whole run so far, by part of the loop.
        """
        if not has_lines(window_id):
            return
        spent = {name: round(value - self._told.get(name, 0.0), 6) for name, value in seconds.items()}
        self._told = dict(seconds)
        now = self._now().isoformat(timespec="milliseconds")
        self._append(TIMINGS, {"window_id": window_id, "time": now, "seconds": spent})

    def conclude(self, report: TrainingReport) -> None:
        """Write what the run came to, and close the files."""
        with self.health.surviving_storage("write the report", "records"), storage_errors("write", self._directory):
            replace_file(self._directory / REPORT, encode_json(report.to_dict()))
        self.close()

    def close(self) -> None:
        """Close the files; what is written later opens them again."""
        for log in self._logs.values():
            log.close()

    def positions(self) -> dict[str, int]:
        """Return the length of each file in bytes."""
        return {name: log.position(sync=False) for name, log in self._logs.items()}

    def go_back_to(self, positions: Mapping[str, int]) -> None:
        """Drop what was written after `positions` returned this; a file that has lost its end is left as it is.

        Args:
            positions: by the name of the file; one that is not named was not there.
        """
        for name, log in self._logs.items():
            with self.health.surviving_storage("cut back the records", "records"):
                try:
                    log.go_back_to(int(positions.get(name, 0)))
                except CheckpointCorruptError:  # not synced with the state: a power cut may have taken its last lines
                    self.health.count("records")

    def _append(self, name: str, line: Mapping[str, object]) -> None:
        with self.health.surviving_storage("write the records", "records"):
            self._logs[name].append(line)


def describe_environment(command: list[str]) -> dict[str, object]:
    """Return on what this process runs: no name of a host or a user, no credentials.

    Args:
        command: the command line.
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
        "packages": {name: found for name in _PACKAGES if (found := version_of(name)) is not None},
        "command": [_public(argument) for argument in command],
    }


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers among what `learn` told."""
    found: dict[str, float] = {}
    for name, value in values.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            found[str(name)] = number
    return found


def _processor() -> str:
    with_name = Path("/proc/cpuinfo")
    if with_name.exists():
        for line in with_name.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _public(argument: str) -> str:
    """Return an argument without credentials and without the folder of the user, whose name it holds."""
    home = str(Path.home())
    return redacted(argument[:_MOST_ARGUMENT]).replace(home, "~") if home != "/" else redacted(argument)
