"""Recorded workloads, and the examination of every disk that a power cut could leave of one."""

import contextlib
import copy
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.soak.faults._ledger import RUN, Ledger, Message, examine
from tests.soak.faults._recording import Recording
from tests.soak.faults._replay import Disk, Operation, only_synced, read_disk, states
from tests.soak.faults._strace import attached, count_calls, creating_calls, recording
from tests.soak.faults._zygote import Zygote

_MEMORY = Path("/dev/shm")  # noqa: S108 - examined there because it is fast; nothing is believed of its fsync


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one."""
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=_MEMORY if _MEMORY.is_dir() else None)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass
class Recorded:
    """One run of a workload: how it began, what it did, what it told."""

    recording: Recording
    ledger: Ledger
    """As it was when the recording began."""
    told: list[Message]
    counts: dict[str, int]
    """How often each system call was made."""
    creating: set[int]
    """Numbers of the `openat` that may create a file."""
    status: int


def record(zygote: Zygote, workload: str, inject: tuple[str, str, str] | None = None, **job: Any) -> Recorded:
    """Run a workload under strace.

    Args:
        zygote: what forks the process.
        workload: its name.
        inject: a system call, what befalls it (`"error=EIO"`), and which of the calls (`"3"`, `"3..5"`).
        job: what else the workload is told.
    """
    with scratch() as folder:
        root, log = folder / "disk", folder / "log"
        root.mkdir()
        # What was to be pruned may stay after an error: that does not undo the save.
        ledger = Ledger(surplus={} if inject else None)
        options = ["-e", "inject={}:{}:when={}".format(*inject)] if inject else []
        with zygote.start(workload=workload, directory=str(root / RUN), **job) as child:
            for message in child.prepare():
                ledger.feed(message)
            before = read_disk(root)
            with attached(child, *recording(), *options, output=log):
                child.go()
                told = list(child.read())
                status = child.wait()
        return Recorded(Recording(log, root, before), ledger, told, count_calls(log), creating_calls(log), status)


def complaints(zygote: Zygote, workload: str, mutant: str) -> list[Message]:
    """Return what goes wrong with a mutant that nothing befalls: it must work, or it is no control of anything."""
    with scratch() as folder, zygote.start(workload=workload, directory=str(folder / RUN), mutant=mutant) as child:
        child.prepare()
        child.go()
        told = list(child.read())
    return [message for message in told if message["kind"] in ("failed", "violated")]


@dataclass
class Findings:
    """What examining disks has found."""

    disks: set[str] = field(default_factory=set)
    """Digests of the different disks."""
    examined: int = 0
    """Different disks times the promises that were in force when they could arise."""
    failures: list[str] = field(default_factory=list)
    max_bytes: int = 0
    """The most that the directory held at any moment."""


def cut_power(
    recorded: Recorded, rng: np.random.Generator, subsets: int = 32, *, share: float = 1.0, first_only: bool = False
) -> Findings:
    """Examine every disk that a power cut could leave of a recorded workload, each once per set of promises.

    Args:
        recorded: the workload.
        rng: draws the random subsets.
        subsets: how many of them after each operation.
        share: of the disks that is examined, drawn at random.
        first_only: stop at the first failure.
    """
    events, before = recorded.recording.events, recorded.recording.before
    promises = list(_promises(events, recorded.ledger))
    findings, seen, number = Findings(), set(), itertools.count()
    with scratch() as folder:
        for count, disk in states(events, before, rng, subsets):
            if share < 1 and rng.random() >= share:
                continue
            digest, version = disk.digest(), promises[count]
            if (digest, id(version)) in seen:
                continue
            seen.add((digest, id(version)))
            findings.disks.add(digest)
            findings.examined += 1
            broken = _examined(disk, version, folder / str(next(number)))
            findings.failures += [f"after {count} of {len(events)} events: {what}" for what in broken]
            if broken and first_only:
                break
    findings.max_bytes = most_bytes(recorded)
    return findings


def broken_after_an_error(recorded: Recorded) -> list[str]:
    """Return what an injected error has broken: when the workload has ended, and in a power cut right after the error.

    A call that failed has made nothing durable: the two things that were first said to be done after it must be on the
    synced part of the disk.
    """
    events, before = recorded.recording.events, recorded.recording.before
    promises = list(_promises(events, recorded.ledger))
    injected = [index for index, event in enumerate(events) if isinstance(event, tuple) and event[0] == "injected"]
    whole = before.copy()
    for event in events:
        if isinstance(event, Operation):
            whole.apply(event)
    broken, looked = list(promises[-1].errors), 0
    with scratch() as folder:
        broken += _examined(whole, promises[-1], folder / "whole")
        for count, disk in only_synced(events, before):
            if count > injected[0] and events[count - 1][1]["kind"] == "done" and looked < 2:
                looked += 1
                found = _examined(disk, promises[count], folder / str(count))
                broken += [f"power cut after the error: {what}" for what in found]
    return broken


def _promises(events: list[Any], ledger: Ledger) -> Iterator[Ledger]:
    """Yield the ledger as it stands before and after each event."""
    yield ledger
    for event in events:
        if not isinstance(event, Operation) and event[0] == "told":
            ledger = copy.deepcopy(ledger)
            ledger.feed(event[1])
        yield ledger


def _examined(disk: Disk, ledger: Ledger, target: Path) -> list[str]:
    target.mkdir()
    disk.write_to(target)
    broken = examine(target / RUN, ledger)
    shutil.rmtree(target)
    return broken


def most_bytes(recorded: Recorded) -> int:
    """Return the most that the directory held after any operation."""
    disk = recorded.recording.before.copy()
    most = disk.bytes_held()
    for event in recorded.recording.events:
        if isinstance(event, Operation):
            disk.apply(event)
            most = max(most, disk.bytes_held())
    return most
