"""What the faulted processes do: each workload is a generator that prepares, yields, and does what is faulted.

Each operation tells what it is about to do before, and what it has done after; see `_ledger`.
"""

import ctypes
import functools
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.meta_controller import MetaAction
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import CheckpointError, CheckpointStorageError
from tests.soak.faults import _agents
from tests.soak.faults._ledger import RING, best_of, bytes_below, listing_of, litter_in, quarantined_in, quiet


class Context:
    """A registry, an agent, and the pipe on which a workload tells what it does."""

    def __init__(self, job: dict[str, Any], pipe: int) -> None:
        self.job, self._pipe = job, pipe
        self.directory = Path(job["directory"])
        self.registry = CheckpointRegistry(self.directory, job.get("max_snapshots", 2))
        self.agent = _agents.make(job.get("agent", "numpy"), job.get("size", _agents.SIZE))
        self.ring: Any = None
        self.rng = np.random.default_rng(job.get("seed", 0))
        self.rounds: int = job.get("rounds", 1)
        self.values = _agents.counting(job.get("first_value", 1))

    def send(self, kind: str, **message: Any) -> None:
        data = (json.dumps({"kind": kind, **message}) + "\n").encode()
        while True:
            try:
                os.write(self._pipe, data)  # at most PIPE_BUF: whole or not at all
            except OSError:  # a fault that was meant for the storage
                continue
            return

    def perform(self, op: str, work: Callable[[], Any], **details: Any) -> Any:
        """Do one operation; one that fails is told, what is there then is told, and it is repeated once."""
        for _ in range(2):
            self.send("begin", op=op, **details)
            try:
                result = work()
            except Exception as error:  # noqa: BLE001, RUF100 - the kind of error is what is measured
                expected = CheckpointStorageError if op != "load" else CheckpointError
                self.send("failed", op=op, error=repr(error)[:300], is_storage_error=isinstance(error, expected))
                self.tell_what_is_there()
            else:
                self.send("done", op=op, **({"id": result.snapshot_id} if op == "save" else {}))
                return result
        return None

    def tell_what_is_there(self, kind: str = "holds", **details: Any) -> None:
        with quiet():
            listing = [[key, *entry] for key, entry in listing_of(self.registry).items()]
            point = _agents.read_point(self.directory / RING)
        self.send(
            kind,
            listing=listing,
            point=point,
            litter=litter_in(self.directory),
            quarantined=quarantined_in(self.directory),
            **details,
        )

    def save(self, score: float) -> PolicySnapshot:
        value = next(self.values)
        self.agent.fill(value)
        metrics = EvalMetrics(score, {}, value)
        return self.perform(
            "save", lambda: self.registry.save(self.agent, metrics, value), value=value, score=float(score)
        )

    def rescore(self, snapshot: PolicySnapshot, score: float) -> PolicySnapshot:
        metrics = EvalMetrics(score, {}, snapshot.window_id)
        return self.perform(
            "rescore", lambda: self.registry.rescore(snapshot, metrics), id=snapshot.snapshot_id, score=float(score)
        )

    def prune(self) -> None:
        self.perform("prune", self.registry.prune)

    def roll_back(self) -> None:
        best = self.perform("load", lambda: self.registry.load_best(self.agent))
        if best is not None and self.agent.value() != best.window_id:
            self.send("violated", error=f"rolled back to {self.agent.value()}, not {best.window_id}")

    def save_point(self) -> None:
        value = next(self.values)
        self.perform("point", lambda: self._point(value), value=value)

    def _point(self, value: int) -> None:
        if self.ring is None:
            self.ring = _agents.ResumeRing(self.directory / RING)  # pyright: ignore[reportOptionalCall]
        self.ring.save(_agents.point_writer(value), {"value": value})


def save_and_prune(context: Context) -> Iterator[None]:
    """A new directory, and saves until pruning has deleted both a middle one and an old best."""
    yield
    for round_ in range(context.rounds):
        for score in (1.0, 3.0, 2.0, 2.5, 4.0):
            context.save(score + round_)


def rescore(context: Context) -> Iterator[None]:
    """The best turns out worse than it seemed; pruning then drops it."""
    best = context.save(5.0)
    context.save(2.0)
    context.save(3.0)
    yield
    for round_ in range(context.rounds):
        context.rescore(best, 1.0)
        context.prune()
        best = context.save(10.0 + round_)


def roll_back(context: Context) -> Iterator[None]:
    """The policy degrades and the best is loaded, between saves."""
    context.save(2.0)
    yield
    for round_ in range(context.rounds):
        context.save(1.0)
        context.roll_back()
        context.save(3.0 + round_)
        context.roll_back()


def stage(context: Context) -> Iterator[None]:
    """Two candidates are staged before their scores are known: one is discarded, the other committed."""
    context.save(2.0)
    yield
    for _ in range(context.rounds):
        context.perform("load", lambda: context.registry.discard(context.registry.stage(context.agent)))
        value = next(context.values)
        context.agent.fill(value)
        context.perform(
            "save", functools.partial(_staged, context, EvalMetrics(3.0, {}, value)), value=value, score=3.0
        )
        context.perform("archive", context.registry.archive)
        context.save(1.0)


def _staged(context: Context, metrics: EvalMetrics) -> PolicySnapshot:
    registry, agent = context.registry, context.agent
    return registry.commit(registry.stage(agent), metrics, metrics.episode_id, agent.get_hyperparams())


def spawn_and_prune(context: Context) -> Iterator[None]:
    """A variant is spawned from the best and becomes it; what it began as stays until it is judged."""
    context.save(2.0)
    manager, actions = PolicyManager(context.registry, seed=0), itertools.cycle((MetaAction.SPAWN, MetaAction.PRUNE))
    controller: Any = SimpleNamespace(decide=lambda history, status: next(actions))
    evolution = manager.as_callback(context.agent, lambda: _agents.FilledAgent(context.agent.weights.size), controller)
    yield
    for round_ in range(context.rounds):
        context.perform("load", lambda: evolution.on_dormant(0))
        context.send("pinned", ids=sorted(context.registry._pins()))
        context.agent = manager.agents[-1]
        for score in (3.0, 1.0, 2.0, 2.5):
            snapshot = context.save(score + round_)
            if snapshot is not None and score == 3.0:
                evolution.on_improvement(snapshot)
        context.perform("load", lambda: evolution.on_dormant(0))
        context.send("pinned", ids=sorted(context.registry._pins()))
        context.prune()


def resume(context: Context) -> Iterator[None]:
    """Resume points, and a best in between."""
    context.save(1.0)
    context.save_point()
    yield
    for round_ in range(context.rounds):
        context.save_point()
        context.save(2.0 + round_)
        context.save_point()
        context.save_point()


def quarantine(context: Context) -> Iterator[None]:
    """The best has rotted and another has lost its metadata: the next writer must do without them."""
    no_metadata = context.save(2.0)
    (context.registry.path_of(no_metadata) / "metadata.json").unlink()
    context.send("damaged", id=no_metadata.snapshot_id)
    rotten = context.save(3.0)
    context.save(1.5)
    context.save(1.0)
    context.send("damaged", id=rotten.snapshot_id)
    weights = next(context.registry.path_of(rotten).rglob("*.safetensors"))
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    context.registry.close()
    yield
    with quiet():
        context.perform("open", context.registry.open)
        context.roll_back()
        for round_ in range(context.rounds):
            context.save(1.6 + round_)
            context.save(1.7 + round_)


def endless(context: Context) -> Iterator[None]:
    """Reopen what the last one left, tell what is there, and save, rescore, roll back and resume until killed."""
    yield
    started = time.perf_counter()
    context.registry.open()
    seconds = time.perf_counter() - started
    found = listing_of(context.registry)
    if found:
        best = context.registry.load_best(context.agent)
        if context.agent.value() != best.window_id or best.snapshot_id != best_of(found):
            context.send("violated", error=f"reopened to {context.agent.value()} of {best.snapshot_id}")
    context.tell_what_is_there("reopened", seconds=seconds, bytes=bytes_below(context.directory))
    while True:
        snapshot = context.save(float(context.rng.normal()))
        action = context.rng.integers(5)
        if action == 0 and snapshot is not None:
            context.rescore(snapshot, float(context.rng.normal()))
            context.prune()
        elif action == 1:
            context.roll_back()
        elif action == 2 and _agents.ResumeRing is not None:
            context.save_point()


def small_disk(context: Context) -> Iterator[None]:
    """Save until the disk is full, get more space, lose the right to write, and get it back."""
    disk = context.directory.parent
    _mount(disk, context.job["disk_bytes"])
    yield
    with quiet():
        for score in (1.0, 3.0, 2.0, 2.5):
            context.save(score)
        _mount(disk, 1 << 26, again=True)
        context.send("space")
        context.save(4.0)
        context.registry.close()  # its lock file is open for writing, and the kernel would refuse
        _mount(disk, 1 << 26, again=True, read_only=True)
        context.send("read-only")
        context.save(5.0)
        _mount(disk, 1 << 26, again=True)
        context.send("space")
        context.save(6.0)
    shutil.copytree(context.directory, disk.parent / "copy")


def _mount(disk: Path, size: int, again: bool = False, read_only: bool = False) -> None:
    """Mount a disk in memory where this process alone sees it."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = [] if again else [lambda: libc.unshare(0x20000), lambda: libc.mount(b"none", b"/", None, 0x44000, None)]
    flags = (32 if again else 0) | (1 if read_only else 0)
    steps.append(lambda: libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", flags, f"size={size}".encode()))
    for step in steps:
        if step() != 0:
            raise OSError(ctypes.get_errno(), "could not mount")


WORKLOADS: dict[str, Callable[[Context], Iterator[None]]] = {
    "save and prune": save_and_prune,
    "rescore": rescore,
    "roll back": roll_back,
    "stage": stage,
    "quarantine": quarantine,
    "spawn and prune": spawn_and_prune,
    **({"resume": resume} if _agents.ResumeRing is not None else {}),
}
ALL = {**WORKLOADS, "endless": endless, "small disk": small_disk}
