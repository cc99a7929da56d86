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
    minutes: float | None = None
    """After so long a run of the field or of the race is cut; None = never, or the race's own."""
    runs: Path = ROOT / "runs" / "bench"
    """Where the runs of the field are kept, so that they go on where they were cut."""


@dataclass(frozen=True)
class Measurement:
    """One thing to measure."""

    key: str
    """Names it in the results: what has this key is not measured again."""
    measure: Callable[[], dict[str, Any]]
    """Returns what was found, as JSON values; raises `MeasurementError`."""
    goes_on: Callable[[Row], bool] = lambda row: False
    """True for a known row that measuring would take further: its run was cut, and is given more time now."""
    discard: Callable[[], None] = lambda: None
    """Removes what was kept of it besides its row, so that it is made anew."""


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
    return _output(arguments, environment(**variables), None)


def run_python_within(seconds: float, *arguments: str) -> str:
    """Run `python ARGUMENTS` and return what it printed.

    Raises:
        MeasurementError: it failed, or took longer than `seconds`.
    """
    return _output(arguments, environment(), seconds)


def _output(arguments: Sequence[str], variables: Mapping[str, str], seconds: float | None) -> str:
    command, name = [sys.executable, *arguments], " ".join(arguments[:3])
    try:
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(f"{name} took more than {seconds:g} s") from error
    if done.returncode:
        raise MeasurementError(f"{name} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
