"""What a checkpoint directory must hold, as told by the messages of the process that writes to it.

A message is sent *before* an operation begins and *after* it has returned. Between the two, the disk may hold the state
before or the one after; once it has returned, the latter only. Each snapshot's window id is the value that its weights
are filled with, so that a snapshot alone shows whether it is whole.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointError
from tests.soak.faults._agents import FilledAgent, read_point

Message = Mapping[str, Any]
Listing = dict[str, tuple[int, float]]
"""Value and score of each snapshot, by id."""

RUN = "run"
"""Name of the checkpoint directory."""
RING = "."
"""Where the resume points are, relative to the checkpoint directory: among the snapshots."""
LITTER = (".tmp-*", ".trash-*")


@dataclass
class Ledger:
    """What the messages so far promise."""

    max_snapshots: int = 2
    certain: Listing = field(default_factory=dict)
    """What the last operation that returned has left."""
    damaged: set[str] = field(default_factory=set)
    """Snapshots that were damaged on purpose: they may be listed, but never be loaded."""
    point: int | None = None
    """Value of the newest resume point."""
    pending: Message | None = None
    failed: int = 0
    errors: list[str] = field(default_factory=list)
    """What came out of the storage that should not."""
    litter: int = 0
    """How often a failure left something unfinished, for the next opening to clear."""
    may_quarantine: bool = False
    """Whether a snapshot may be put aside: the disk said that it cannot be read."""
    pinned: set[str] = field(default_factory=set)
    """Snapshots that the process, as long as it ran, kept from being pruned."""
    surplus: Listing | None = None
    """What was pruned, where it may still be there (None: it may not): a prune that fails does not undo its save."""

    def feed(self, message: Message) -> None:
        """Take the next message into account."""
        kind = message["kind"]
        if kind == "begin":
            self.pending = message
        elif kind == "done":
            self._take(message)
            self.pending = None
        elif kind == "failed":
            self.failed += 1
            if not message["is_storage_error"]:
                self.errors.append(f"{message['op']}: {message['error']}")
        elif kind in ("holds", "reopened"):  # after a failure: what is there from now on
            self._resume_from(message)
        elif kind == "damaged":
            self.damaged.add(message["id"])
            self.certain.pop(message["id"], None)
        elif kind == "pinned":
            self.pinned = set(message["ids"])
        elif kind == "violated":
            self.errors.append(message["error"])

    def _resume_from(self, message: Message) -> None:
        """Compare what is there after a failure with what may be, and go on from it."""
        listing = {key: (value, score) for key, value, score in message["listing"] if key not in self.damaged}
        self.errors += self.violations(listing, message["point"], message["quarantined"])
        if message["kind"] == "reopened":
            self.errors += [f"litter: {name}" for name in message["litter"]]
            self.errors += [f"quarantined: {name}" for name in message["quarantined"] if not self.damaged]
        elif message["litter"]:
            self.litter += 1
        self.certain, self.point, self.pending = listing, message["point"], None

    def _take(self, done: Message) -> None:
        assert self.pending is not None
        before = self.certain
        self.certain, self.point = self._after(done.get("id"))
        if self.surplus is not None:
            self.surplus |= {key: entry for key, entry in before.items() if key not in self.certain}

    def _after(self, new_id: str | None) -> tuple[Listing, int | None]:
        """Return what the pending operation leaves; a snapshot whose id is not known yet is left out."""
        pending, listing = self.pending or {}, dict(self.certain)
        match pending.get("op"):
            case "save":
                # The new snapshot counts in what is kept, whatever its id will be: ids sort in the order of saving.
                listing[new_id or "~"] = (pending["value"], pending["score"])
                listing = self._kept(listing)
                listing.pop("~", None)
            case "rescore":
                listing[pending["id"]] = (listing[pending["id"]][0], pending["score"])
            case "prune":
                listing = self._kept(listing)
            case "archive":
                listing = {}
            case "point":
                return listing, pending["value"]
        return listing, self.point

    def _kept(self, listing: Listing) -> Listing:
        best = best_of(listing)
        newest = sorted(listing)[-self.max_snapshots :]
        return {key: entry for key, entry in listing.items() if key in newest or key == best or key in self.pinned}

    def required(self, found: Listing) -> set[str]:
        """Return the ids that must be there, whether the pending operation has got through or not."""
        pending = self.pending or {}
        new = (pending.get("value"), pending.get("score"))
        if pending.get("op") == "save" and new not in (
            entry for key, entry in found.items() if key not in self.certain
        ):
            return set(self.certain)  # nothing may go before the new one is there
        return set(self.certain) & set(self._after(None)[0])

    def violations(self, found: Listing, point: int | None, quarantined: Sequence[str] = ()) -> list[str]:
        """Return in what the found snapshots and the value of the newest resume point break the promises."""
        excused = {name[-6:] for name in quarantined if "snapshot" in name} if self.may_quarantine else set()
        after, after_point = self._after(None)
        pending = self.pending or {}
        broken = [f"snapshot {key} is lost" for key in sorted(self.required(found) - set(found) - excused)]
        for key in sorted(set(found) - self.damaged):
            allowed = {listing[key] for listing in (self.certain, after, self.surplus or {}) if key in listing}
            if key not in self.certain and pending.get("op") == "save":
                allowed.add((pending["value"], pending["score"]))
            if found[key] not in allowed:
                broken.append(f"snapshot {key} holds {found[key]}, not one of {sorted(allowed)}")
        point_excused = self.may_quarantine and any("resume" in name for name in quarantined)
        if point not in (self.point, after_point) and not point_excused:
            broken.append(f"the resume point is {point}, not {self.point} or {after_point}")
        return broken


def best_of(listing: Listing) -> str | None:
    """Return the id with the highest score, of equals the earliest."""
    return min(listing, key=lambda key: (-listing[key][1], key), default=None)


def listing_of(registry: CheckpointRegistry) -> Listing:
    """Return what a registry lists."""
    return {s.snapshot_id: (s.window_id, s.eval_metrics.primary_score) for s in registry.snapshots()}


def examine(
    directory: Path, ledger: Ledger, agent: BaseAgent | None = None, saves_on: bool = True, max_bytes: int | None = None
) -> list[str]:
    """Reopen a directory as its next writer would, and return in what it breaks the ledger's promises.

    Args:
        directory: the checkpoint directory as the fault has left it; it is written to.
        ledger: what was promised.
        agent: what to load into.
        saves_on: whether to prove that a next save works.
        max_bytes: how much the directory may hold once it is open.
    """
    agent = agent or FilledAgent()
    with quiet():
        registry = CheckpointRegistry(directory, ledger.max_snapshots)
        try:
            return list(_examined(registry, ledger, agent, saves_on, max_bytes))
        except Exception as error:  # noqa: BLE001, RUF100 - whatever comes out is a finding
            return [f"{type(error).__name__}: {error}"]
        finally:
            registry.close()


def _examined(  # noqa: C901 - one question after the other
    registry: CheckpointRegistry, ledger: Ledger, agent: Any, saves_on: bool, max_bytes: int | None
) -> Iterator[str]:
    directory = registry.directory
    registry.open()
    point = read_point(directory / RING)
    yield from (f"litter: {name}" for name in litter_in(directory))
    if max_bytes is not None and (size := bytes_below(directory)) > max_bytes:
        yield f"holds {size} bytes, more than {max_bytes}"
    quarantined = quarantined_in(directory)
    if quarantined and not ledger.damaged and not ledger.may_quarantine:
        yield f"quarantined: {quarantined}"
    found = listing_of(registry)
    yield from ledger.violations(found, point, quarantined)
    required = ledger.required(found)
    for snapshot in registry.snapshots():
        if snapshot.snapshot_id not in ledger.damaged:
            registry.load(snapshot, agent)
            if agent.value() != snapshot.window_id:
                yield f"snapshot {snapshot.snapshot_id} holds {agent.value()}, not {snapshot.window_id}"
    try:
        best = registry.load_best(agent)
    except CheckpointError as error:
        if required & set(found):
            yield f"load_best: {error}"
    else:
        if agent.value() != best.window_id:
            yield f"the best snapshot {best.snapshot_id} holds {agent.value()}, not {best.window_id}"
        sure = [found[key][1] for key in required if key in found]
        if best.eval_metrics.primary_score < max(sure, default=-1e9):
            yield f"load_best gave {best.eval_metrics.primary_score}, but {max(sure)} is there"
    if saves_on:
        agent.fill(999)
        saved = registry.save(agent, EvalMetrics(1e6, {}, 999), 999)
        if registry.load_best(agent) != saved or agent.value() != 999:
            yield "the next save is not the best one"


def litter_in(directory: Path) -> list[str]:
    """Return the names of what is unfinished."""
    return [path.name for pattern in LITTER for path in directory.rglob(pattern)]


def quarantined_in(directory: Path) -> list[str]:
    """Return the names of what was put aside."""
    folder = directory / "quarantine"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def bytes_below(directory: Path) -> int:
    """Return the bytes in all files below a directory."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())


class quiet:
    """Without the warnings about damaged snapshots, of which there are thousands here."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.ERROR)

    def __exit__(self, *exc: object) -> None:
        logging.disable(self._before)
