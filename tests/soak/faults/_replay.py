"""Power loss by replay: from a recording of system calls, the disks that a power cut could have left.

The model is strict POSIX: `fsync` of a file makes its bytes durable but not its name; `fsync` of a folder makes the
names in it durable; all else may be lost, each operation for itself and in any order. A rename is one operation.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PAGE = 4096


@dataclass(frozen=True)
class Operation:
    """A change of one file (`write`, `truncate`) or of names (`link`, `unlink`, `move`)."""

    kind: str
    inode: int
    """File or folder that is written, named, or no longer named."""
    parent: int = -1
    name: str = ""
    to_parent: int = -1
    to_name: str = ""
    offset: int = 0
    data: bytes = b""

    @property
    def synced_with(self) -> int:
        """Inode whose `fsync` makes it durable."""
        if self.kind in ("write", "truncate"):
            return self.inode
        return self.to_parent if self.kind == "move" else self.parent


Files = dict[int, bytes]
Names = dict[int, dict[str, int]]


@dataclass
class Disk:
    """Files and folders by inode; the checkpoint directory's parent is inode 0."""

    names: Names = field(default_factory=lambda: {0: {}})
    files: Files = field(default_factory=dict)

    def copy(self) -> "Disk":
        return Disk({key: dict(names) for key, names in self.names.items()}, dict(self.files))

    def apply(self, op: Operation) -> None:
        """Do one operation as far as it makes sense on this disk: what it builds on may have been lost."""
        match op.kind:
            case "write":
                old = self.files.get(op.inode, b"").ljust(op.offset, b"\0")
                self.files[op.inode] = old[: op.offset] + op.data + old[op.offset + len(op.data) :]
            case "truncate":
                self.files[op.inode] = self.files.get(op.inode, b"")[: op.offset].ljust(op.offset, b"\0")
            case "link":
                self.names.setdefault(op.parent, {})[op.name] = op.inode
            case "unlink":
                if self.names.get(op.parent, {}).get(op.name) == op.inode and not self.names.get(op.inode):
                    del self.names[op.parent][op.name]
            case "move":
                if self.names.get(op.parent, {}).get(op.name) == op.inode:
                    del self.names[op.parent][op.name]
                self.names.setdefault(op.to_parent, {})[op.to_name] = op.inode

    def tree(self, inode: int = 0, prefix: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Yield path and bytes of all that can be reached (None: a folder)."""
        for name, child in sorted(self.names.get(inode, {}).items()):
            if child in self.names:
                yield prefix + name, None
                yield from self.tree(child, f"{prefix}{name}/")
            else:
                yield prefix + name, self.files.get(child, b"")

    def digest(self) -> str:
        """Return what tells two disks apart."""
        digest = hashlib.sha256()
        for path, data in self.tree():
            digest.update(f"{path}\0{-1 if data is None else len(data)}\0".encode())
            digest.update(data or b"")
        return digest.hexdigest()

    def write_to(self, target: Path) -> None:
        """Make it real in an empty folder."""
        for path, data in self.tree():
            if data is None:
                os.mkdir(target / path)
            else:
                (target / path).write_bytes(data)

    def bytes_held(self) -> int:
        """Return the bytes in all files that can be reached."""
        return sum(len(data) for _, data in self.tree() if data is not None)


def read_disk(root: Path) -> Disk:
    """Read what is below a folder: the durable beginning of a recording."""
    disk, inodes = Disk(), itertools.count(1)

    def read(folder: Path, inode: int) -> None:
        for path in sorted(folder.iterdir()):
            disk.names[inode][path.name] = child = next(inodes)
            if path.is_dir():
                disk.names[child] = {}
                read(path, child)
            else:
                disk.files[child] = path.read_bytes()

    read(root, 0)
    return disk


def _told(events: Iterable[Any]) -> Iterator[tuple[int, Any, list[Operation], list[bool]]]:
    """Yield each event with its number, the operations up to it, and which of them are durable by then."""
    done: list[Operation] = []
    durable: list[bool] = []
    for count, event in enumerate(events, 1):
        if isinstance(event, Operation):
            done.append(event)
            durable.append(False)
        elif event[0] == "sync":
            for index, op in enumerate(done):
                durable[index] = durable[index] or op.synced_with == event[1]
        yield count, event, done, durable


def states(events: Iterable[Any], before: Disk, rng: np.random.Generator, subsets: int) -> Iterator[tuple[int, Disk]]:
    """Yield the disks that a power cut could leave, each with how many events had happened before it.

    After every event: (a) all is applied; (b) only what was synced; (c) all but one volatile operation; (d) one
    volatile operation besides what was synced; (e) all, with one volatile write torn at 1 byte, half, a page, all but
    the last byte, or its length with zeros; (f) up to `subsets` random subsets.
    """
    for count, _, done, durable in _told(events):
        for kept in _selections(done, durable, rng, subsets):
            disk = before.copy()
            for op in kept:
                disk.apply(op)
            yield count, disk


def only_synced(events: Iterable[Any], before: Disk) -> Iterator[tuple[int, Disk]]:
    """Yield state (b) of `states` after every event that told something."""
    for count, event, done, durable in _told(events):
        if not isinstance(event, Operation) and event[0] == "told":
            disk = before.copy()
            for op, is_durable in zip(done, durable, strict=True):
                if is_durable:
                    disk.apply(op)
            yield count, disk


def _selections(
    done: list[Operation], durable: list[bool], rng: np.random.Generator, subsets: int
) -> Iterator[list[Operation]]:
    volatile = [index for index, is_durable in enumerate(durable) if not is_durable]
    yield done
    yield [op for op, is_durable in zip(done, durable, strict=True) if is_durable]
    for index in volatile:
        yield done[:index] + done[index + 1 :]
        yield [op for i, op in enumerate(done) if durable[i] or i == index]
        if done[index].kind == "write":
            for torn in _torn(done[index]):
                yield [*done[:index], torn, *done[index + 1 :]]
    for _ in range(subsets if len(volatile) > 2 else 0):
        chosen = rng.random(len(done)) < 0.5
        yield [op for i, op in enumerate(done) if durable[i] or chosen[i]]


def _torn(op: Operation) -> Iterator[Operation]:
    size = len(op.data)
    for kept in sorted({1, size // 2, PAGE, size - 1} & set(range(1, size))):
        yield Operation("write", op.inode, offset=op.offset, data=op.data[:kept])
    yield Operation("write", op.inode, offset=op.offset, data=bytes(size))
