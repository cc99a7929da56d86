"""A run as its folder tells it: whatever is there is read, and what is damaged is counted and left out."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import msgspec

from tensor_optix.core.loop.history import HistoryRecord, quickly_parsed
from tensor_optix.core.storage.line_log import (
    DESCRIPTION,
    ENVIRONMENT,
    EVENTS,
    HISTORY,
    MAX_LINE_BYTES,
    MULTIRUN,
    RECORDS,
    REPORT,
    TIMINGS,
    WINDOWS,
    Record,
)
from tensor_optix.core.storage.reading import open_plain, read_plain
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError
from tensor_optix.support.schemas import decode_object, known_only, rebuilt

MAX_FILE_BYTES = 4 << 20
"""Of a file that is one object."""


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The records of a run, as far as they could be read."""

    run_dir: Path
    history: Sequence[HistoryRecord] = ()
    """The evaluated windows."""
    windows: Sequence[Record] = ()
    """All windows of training."""
    events: Sequence[Record] = ()
    timings: Sequence[Record] = ()
    report: TrainingReport | None = None
    """None while the run goes on, or where it is damaged."""
    environment: Record = field(default_factory=dict[str, object])
    """On what it ran."""
    description: Record = field(default_factory=dict[str, object])
    """What was to be trained, where the run was begun on the command line."""
    damaged: Mapping[str, int] = field(default_factory=dict[str, int])
    """Lines, or whole files, that could not be read, by file."""

    @classmethod
    def read(cls, run_dir: Path) -> Self:
        """Read a run.

        Args:
            run_dir: its folder.

        Raises:
            InvalidArgumentError: there is no folder, or it holds no run.
        """
        if not run_dir.is_dir():
            raise InvalidArgumentError(f"{str(run_dir)!r} is no folder. Give the run directory that train printed.")
        if (run_dir / MULTIRUN).exists() and not (run_dir / HISTORY).exists():
            raise InvalidArgumentError(_of_several(run_dir))
        if not any((run_dir / name).exists() for name in (*RECORDS, DESCRIPTION)):
            if any(run_dir.glob(f"*/{HISTORY}")):
                raise InvalidArgumentError(_of_several(run_dir))
            raise InvalidArgumentError(
                f"{str(run_dir)!r} holds no run: neither {HISTORY} nor {REPORT}. Give the folder that train printed."
            )
        damaged: dict[str, int] = {}
        history: list[HistoryRecord] = []
        for line in _lines(run_dir / HISTORY, damaged):
            try:
                history.append(_record(line))
            except CheckpointCorruptError:
                damaged[HISTORY] = damaged.get(HISTORY, 0) + 1
        return cls(
            run_dir=run_dir,
            history=history,
            windows=_objects(run_dir / WINDOWS, damaged),
            events=_objects(run_dir / EVENTS, damaged),
            timings=_objects(run_dir / TIMINGS, damaged),
            report=_report(run_dir / REPORT, damaged),
            environment=_object(run_dir / ENVIRONMENT, damaged),
            description=_object(run_dir / DESCRIPTION, damaged),
            damaged=damaged,
        )

    @property
    def name(self) -> str:
        """What was trained, or else the name of the folder."""
        return str(self.description.get("env") or self.run_dir.resolve().name)

    def numbers(self, name: str) -> list[float]:
        """Return a number of each window of training that has it."""
        found = (window.get(name) for window in self.windows)
        return [float(value) for value in found if isinstance(value, int | float) and not isinstance(value, bool)]

    @cached_property
    def window_places(self) -> Sequence[tuple[int, float]]:
        """Steps and hours by the end of each window of training."""
        return [
            (int(number(w.get("env_steps"))), self.hours.get(int(number(w.get("window_id"))), 0.0))
            for w in self.windows
        ]

    @cached_property
    def hours(self) -> Mapping[int, float]:
        """The wall-clock hours that the run had taken by the end of each window."""
        spent, found = 0.0, dict[int, float]()
        for timing in self.timings:
            seconds = timing.get("seconds")
            spent += sum(map(number, seconds.values())) if isinstance(seconds, Mapping) else 0.0
            found[int(number(timing.get("window_id")))] = spent / 3600
        return found

    def of_kind(self, *kinds: str) -> list[Record]:
        """Return the events of some kinds, in the order of time."""
        return [event for event in self.events if event.get("event") in kinds]


def _record(line: bytes) -> HistoryRecord:
    """Return the record of a line; names that only another version has are left out."""
    try:
        return quickly_parsed(line, HISTORY)
    except CheckpointCorruptError:
        return rebuilt(HistoryRecord, known_only(HistoryRecord, decode_object(line, HISTORY)))


def number(value: object) -> float:
    """Return a number of a file, 0.0 where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _of_several(folder: Path) -> str:
    """Return where the pages of several runs are."""
    run = next((path.parent for path in sorted(folder.rglob(HISTORY))), None)
    if run is None:
        return f"{str(folder)!r} holds no run with records, but what several came to: see its result.json."
    return (
        f"{str(folder)!r} holds several runs, each with a page of its own, such as {str(run)!r}. tensor-optix compare "
        f"shows some beside each other."
    )


def _lines(path: Path, damaged: dict[str, int]) -> Iterator[bytes]:
    """Yield the whole lines of a file; one that is being written, or was cut short by a crash, is left out."""
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if line.endswith(b"\n"):
                    yield line
                elif len(line) > MAX_LINE_BYTES:
                    damaged[path.name] = damaged.get(path.name, 0) + 1
                    return
    except FileNotFoundError:
        return
    except (OSError, CheckpointCorruptError):
        damaged[path.name] = damaged.get(path.name, 0) + 1


def _objects(path: Path, damaged: dict[str, int]) -> list[Record]:
    found: list[Record] = []
    for line in _lines(path, damaged):
        try:
            one = msgspec.json.decode(line)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            one = None
        if isinstance(one, dict):
            found.append(one)
        else:
            damaged[path.name] = damaged.get(path.name, 0) + 1
    return found


def _object(path: Path, damaged: dict[str, int]) -> Record:
    try:
        return decode_object(read_plain(path, MAX_FILE_BYTES), path.name)
    except CheckpointCorruptError:
        if path.exists():
            damaged[path.name] = damaged.get(path.name, 0) + 1
        return {}


def _report(path: Path, damaged: dict[str, int]) -> TrainingReport | None:
    data = _object(path, damaged)
    try:
        return rebuilt(TrainingReport, known_only(TrainingReport, data)) if data else None
    except CheckpointCorruptError:
        damaged[path.name] = damaged.get(path.name, 0) + 1
        return None
