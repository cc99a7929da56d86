"""The turns of a run, read from its records while it writes them."""

import json
import os
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.storage.line_log import EVENTS, HISTORY, MAX_LINE_BYTES, TIMINGS, WINDOWS, Record
from tensor_optix.core.storage.reading import open_plain
from tensor_optix.errors import CheckpointCorruptError

MOST_TURNS = 256
"""Read at a time: so many are held in memory, however long the run is."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A window of training, and what came of it."""

    window_id: int
    env_steps: int
    """Training steps by its end."""
    steps: int
    """Training steps in it."""
    time: float
    """When it ended, in seconds since 1970."""
    seconds: Mapping[str, float]
    """What it took, by part of the loop."""
    total_seconds: float
    """What the run had taken by its end."""
    window: Record
    """Its line of `windows.jsonl`."""
    evaluation: HistoryRecord | None
    """What was decided on it; None where it was not evaluated."""
    counts: Mapping[str, int]
    """How often each kind of event had happened by its end."""


class RunFollower:
    """Reads the turns of a run as they end: a line of `timings.jsonl` is the last that a turn writes.

    Args:
        run_dir: the folder of the run.
    """

    def __init__(self, run_dir: Path) -> None:
        self._timings = _Lines(run_dir / TIMINGS)
        self._windows, self._events = _Objects(run_dir / WINDOWS), _Objects(run_dir / EVENTS)
        self._history = _Objects(run_dir / HISTORY)
        self._counts = Counter[str]()
        self._env_steps, self._total_seconds = 0, 0.0

    def read(self, most: int = MOST_TURNS) -> list[Turn]:
        """Return the turns that have ended since the last reading.

        Args:
            most: turns at most; the others are left to the next reading.
        """
        timings = self._timings.take(most)  # read first: whatever else belongs to these turns is there by now
        return [turn for line in timings if (turn := self._turn(_parsed(line))) is not None]

    def _turn(self, timing: Record | None) -> Turn | None:
        if timing is None:
            return None
        window_id = timing["window_id"]
        windows = self._windows.up_to(window_id)
        evaluations = self._history.up_to(window_id)
        for event in self._events.up_to(window_id):
            self._counts[_kind(event)] += 1
        seconds = {str(name): float(value) for name, value in timing.get("seconds", {}).items()}
        self._total_seconds += sum(seconds.values())
        if not windows or windows[-1]["window_id"] != window_id:
            return None
        before, self._env_steps = self._env_steps, int(windows[-1]["env_steps"])
        return Turn(
            window_id=window_id,
            env_steps=self._env_steps,
            steps=self._env_steps - before,
            time=datetime.fromisoformat(timing["time"]).timestamp(),
            seconds=seconds,
            total_seconds=self._total_seconds,
            window=windows[-1],
            evaluation=_record(evaluations[-1]) if evaluations else None,
            counts=dict(self._counts),
        )


def last_steps(run_dir: Path) -> int:
    """Return the training steps by the end of the last window that a run has told of; 0 where there is none."""
    try:
        with os.fdopen(open_plain(run_dir / WINDOWS), "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - MAX_LINE_BYTES, 0))
            told = [found for line in file.readlines()[-2:] if (found := _parsed(line)) is not None]
    except (OSError, CheckpointCorruptError):
        return 0
    return int(told[-1].get("env_steps", 0)) if told else 0


class _Lines:
    """The whole lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def take(self, most: int) -> list[bytes]:
        """Return the next lines; none where there is no file yet, or none that is whole."""
        found: list[bytes] = []
        try:
            with os.fdopen(open_plain(self._path), "rb") as file:
                file.seek(self._offset)
                while len(found) < most and (line := file.readline(MAX_LINE_BYTES)).endswith(b"\n"):
                    found.append(line)
        except FileNotFoundError:
            return []
        self._offset += sum(map(len, found))
        return found


class _Objects:
    """The JSON objects of a file that grows, in the order of their windows; damaged lines are left out."""

    def __init__(self, path: Path) -> None:
        self._lines = _Lines(path)
        self._next = deque[Record]()

    def up_to(self, window_id: int) -> list[Record]:
        """Return the objects that come next, up to those of a window."""
        found: list[Record] = []
        while True:
            if not self._next:
                lines = self._lines.take(MOST_TURNS)
                if not lines:
                    return found
                self._next.extend(one for line in lines if (one := _parsed(line)) is not None)
            elif self._next[0]["window_id"] > window_id:
                return found
            else:
                found.append(self._next.popleft())


def _parsed(line: bytes) -> Record | None:
    """Return the object of a line that has a window; None for a damaged line."""
    try:
        loaded: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    found: Record = cast(Record, loaded) if isinstance(loaded, dict) else {}
    return found if type(found.get("window_id")) is int else None


def _record(line: Record) -> HistoryRecord | None:
    try:
        return HistoryRecord.from_dict(line)
    except CheckpointCorruptError:
        return None


def _kind(event: Record) -> str:
    """Return what is counted of an event: its kind, with what happened on watch and what became of a variant."""
    kind = str(event.get("event"))
    detail = event.get("text" if kind == "watch" else "outcome" if kind in ("test", "variant") else "")
    return f"{kind}/{str(detail).partition(':')[0]}" if detail else kind
