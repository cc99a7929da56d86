"""What a suite is, and how it runs Python in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks._results import Row

ROOT = Path(__file__).resolve().parents[1]
"""Where `python -m benchmarks` finds the package."""


class MeasurementError(Exception):
    """A measurement came to nothing; the others go on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user chose to measure."""

    seeds: tuple[int, ...] | None = None
    """None = each suite's own."""
    only: tuple[str, ...] = ()
    """Environments of the learning suite; none = all."""
    rounds: int = 5
    """Repetitions of a speed comparison."""
    curves: Path | None = None
    """Folder of public learning curves; None = that of `TENSOR_OPTIX_CURVES`."""
    windows: int | None = None
    """Windows measured per run by the speed and the overhead suite; None = each suite's own."""


@dataclass(frozen=True)
class Measurement:
    """One thing to measure."""

    key: str
    """Names it in the results: what has this key is not measured again."""
    measure: Callable[[], dict[str, Any]]
    """Returns what was found, as JSON values; raises `MeasurementError`."""


class Suite(Protocol):
    """A module of measurements."""

    @property
    def TITLE(self) -> str:  # noqa: N802 - a constant of the module
        """Heading of the results."""
        ...

    def plan(self, options: Options) -> Iterable[Measurement]:
        """Return what to measure, in this order."""
        ...

    def render(self, rows: Sequence[Row]) -> list[str]:
        """Return the Markdown of at least one measurement."""
        ...


def environment(**more: str) -> Mapping[str, str]:
    """Return the variables of a measured process: one thread, as small networks are fastest that way."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **more}


def run_python(*arguments: str, **variables: str) -> str:
    """Run `python ARGUMENTS` and return what it printed.

    Raises:
        MeasurementError: it failed.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True)
    if done.returncode:
        raise MeasurementError(f"{' '.join(arguments[:3])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
