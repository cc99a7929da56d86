"""A callback that sends the scalars of a run to where its user looks at curves.

    the loop:    writes its records, and knows of no tracker
    a thread:    reads the turns that have ended since it last looked, and hands their scalars to a writer

The records are the buffer: they are on disk, so that nothing is held in memory, nothing is lost where a tracker is slow
or cannot be reached, and the training never waits. A tracker that fails is asked again later what it holds, and is sent
the rest. The same happens when a run is resumed: no scalar is sent twice.
"""

import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tensor_optix.callbacks.pacing import pause_after
from tensor_optix.callbacks.trackers.scalars import Names, check_names, scalars
from tensor_optix.callbacks.trackers.turns import RunFollower, last_steps
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.storage.line_log import DESCRIPTION, RUN_ID
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.redact import redacted
from tensor_optix.support.schemas import decode_object

logger = logging.getLogger(__name__)

PROJECT = "tensor-optix"
"""Where runs stand in a tracker, unless its own settings say otherwise."""
SECONDS_BETWEEN_LOOKS = 1.0
MOST_SECONDS_BETWEEN_LOOKS = 15.0
MOST_SECONDS_BETWEEN_TRIES = 60.0
SECONDS_AT_THE_END = 10.0
"""What the end of a run waits for a tracker."""
_MAX_BYTES = 1 << 20
_SHORTEST = 1e-3
"""Seconds by which is still divided."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run as a tracker knows it."""

    directory: Path
    run_id: str
    """The same when the run is resumed."""
    name: str
    config: Mapping[str, str]
    """What was to be trained."""
    env_steps: int
    """Training steps that it had told of when it began, or was resumed."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The scalars of one turn."""

    step: int
    """Training steps by its end."""
    time: float
    """In seconds since 1970."""
    values: Mapping[str, float]


@dataclass(frozen=True)
class Sent:
    """What a tracker holds of a run already."""

    upto: int = -1
    """All scalars up to this step."""
    by_name: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of some scalars, up to which step."""

    def holds(self, name: str, step: int) -> bool:
        """Return whether a scalar is there."""
        return step <= max(self.upto, self.by_name.get(name, -1))


class Tracker(LoopCallback, ABC):
    """Sends scalars; a subclass says how to open a tracker, write to it and close it, all three in one thread.

    Args:
        names: whose names scalars have, `"sb3"` or `"cleanrl"`.
        pause: seconds between two looks at the records.
        patience: seconds that the end of a run waits for what is still to be sent.

    Raises:
        InvalidArgumentError: other names.
    """

    def __init__(
        self, names: Names = "sb3", *, pause: float = SECONDS_BETWEEN_LOOKS, patience: float = SECONDS_AT_THE_END
    ) -> None:
        check_names(names)
        self._names: Names = names
        self._pause, self._patience = pause, patience
        self._run_dir: Path | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._has_told = False

    @abstractmethod
    def open(self, run: TrackedRun) -> Sent:
        """Begin to write to a run, a new one or the one that is there by its id, and return what it holds."""

    @abstractmethod
    def write(self, points: Sequence[Point]) -> None:
        """Write scalars, in the order of their steps."""

    @abstractmethod
    def close(self) -> None:
        """Finish writing; the run may be opened again."""

    def follow(self, run_dir: Path) -> None:
        """Learn where the run writes its records; the loop calls it when it is made."""
        self._run_dir = run_dir

    def on_loop_start(self) -> None:
        """Begin to send, in a thread."""
        if self._run_dir is None:
            return
        before, self._ending = self._thread, threading.Event()
        run = tracked_run(self._run_dir)  # here: the thread would see windows that came later
        self._thread = threading.Thread(
            target=self._work, args=(run, self._ending, before), name=type(self).__name__, daemon=True
        )
        self._thread.start()

    def on_loop_stop(self) -> None:
        """Send the rest, as far as that does not take long."""
        if self._thread is None:
            return
        self._ending.set()
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._tell("is still busy; what it does not get before the program ends, it gets when the run is resumed.")

    def _work(self, run: TrackedRun, ending: threading.Event, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        follower: RunFollower | None = None
        sent, pause, is_last = Sent(), self._pause, False
        while not is_last:
            waited, used = time.monotonic(), time.process_time()
            is_last = ending.wait(pause)
            waited, used = time.monotonic() - waited, time.process_time() - used
            begun = time.thread_time()
            try:
                if follower is None:
                    sent, follower = self.open(run), RunFollower(run.directory)
                self._send_new(follower, sent)
                pause = pause_after(
                    time.thread_time() - begun,
                    least=self._pause,
                    most=MOST_SECONDS_BETWEEN_LOOKS,
                    busy=used / max(waited, _SHORTEST),
                )
                if is_last:
                    self.close()
            except BaseException as error:  # whatever it is, the run goes on
                self._tell(f"takes no scalars at present: {_in_a_line(error)} The run goes on; they are sent later.")
                follower, pause = None, min(2 * pause, MOST_SECONDS_BETWEEN_TRIES)
                with contextlib.suppress(Exception):
                    self.close()

    def _send_new(self, follower: RunFollower, sent: Sent) -> None:
        while turns := follower.read():
            points: list[Point] = []
            for turn in turns:
                found = scalars(turn, self._names)
                values = {name: value for name, value in found.items() if not sent.holds(name, turn.env_steps)}
                if values:
                    points.append(Point(step=turn.env_steps, time=turn.time, values=values))
            if points:
                self.write(points)

    def _tell(self, what: str) -> None:
        """Say that something is wrong, once."""
        if not self._has_told:
            self._has_told = True
            logger.warning("%s %s", type(self).__name__, what)


def tracked_run(run_dir: Path) -> TrackedRun:
    """Return a run as a tracker knows it, from its `run.json`; one without an id has the name of its folder for it."""
    directory = run_dir.resolve()
    try:
        described = decode_object(read_plain(directory / DESCRIPTION, _MAX_BYTES), DESCRIPTION)
    except CheckpointCorruptError:
        described = {}
    run_id = described.pop(RUN_ID, None)
    return TrackedRun(
        directory=directory,
        run_id=run_id if isinstance(run_id, str) and run_id else directory.name,
        name=directory.name,
        config=dict(_flat(described)),
        env_steps=last_steps(directory),
    )


def _flat(values: Mapping[str, object], above: str = "") -> list[tuple[str, str]]:
    """Return the values of nested objects by their path, as text without credentials."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(cast(Mapping[str, object], value), f"{above}{name}.")
        else:
            found.append((f"{above}{name}", redacted(str(value))))
    return found


def _in_a_line(error: BaseException) -> str:
    text = redacted(str(error).strip().partition("\n")[0])[:300]
    return f"{type(error).__name__}: {text}." if text else f"{type(error).__name__}."
