"""A recording of system calls as operations on files and names, and as what was told between them."""

import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

from tests.soak.faults._replay import Disk, Operation
from tests.soak.faults._strace import Call, calls_in


class Recording:
    """The operations of a recorded workload on the files below `root`, its syncs, and what it told between them."""

    def __init__(self, log: Path, root: Path, before: Disk) -> None:
        self.before = before
        self.events: list[Operation | tuple[str, Any]] = []
        """Operations, `("sync", inode)`, `("told", message)` and `("injected", call)`, in order."""
        self._root = root.resolve()
        self._live = before.copy()
        self._inodes = itertools.count(max([*before.names, *before.files], default=0) + 1)
        self._open: dict[int, tuple[int, int, bool]] = {}  # descriptor: inode, position, appends
        for call in calls_in(log):
            if call.is_injected:
                self.events.append(("injected", call.name))
            if call.result >= 0:
                self._take(call)

    def _take(self, call: Call) -> None:  # noqa: C901 - a case per system call
        arguments = call.arguments
        match call.name:
            case "open" | "openat" | "creat":
                self._opened(call)
            case "write" | "pwrite64":
                self._written(call)
            case "ftruncate":
                if (inode := self._inode_of(arguments)) is not None:
                    self._do(Operation("truncate", inode, offset=int(arguments.rsplit(", ", 1)[1])))
            case "fsync" | "fdatasync":
                if (inode := self._inode_of(arguments)) is not None:
                    self.events.append(("sync", inode))
            case "lseek":
                fd = int(arguments.split("<")[0])
                if fd in self._open and self._inode_of(arguments) is not None:
                    inode, _, appends = self._open[fd]
                    self._open[fd] = (inode, call.result, appends)
            case "rename" | "renameat" | "renameat2":
                self._renamed(call)
            case "unlink" | "unlinkat" | "rmdir":
                if (where := self._where(_paths(arguments)[0])) is not None:
                    self._do(Operation("unlink", self._live.names[where[0]][where[1]], *where))
            case "mkdir" | "mkdirat":
                if (where := self._where(_paths(arguments)[0])) is not None:
                    self._do(Operation("link", self._new(is_folder=True), *where))
            case "dup" | "dup2" | "dup3" | "fcntl":
                pass  # only folders are duplicated here; a write to a duplicate would be missed, and is checked below
            case "read" | "getdents64":
                pass  # what is written to is not read through the same descriptor
            case "mmap":
                if "MAP_SHARED" in arguments and "PROT_WRITE" in arguments and self._inode_of(arguments, 4) is not None:
                    raise NotImplementedError(f"a writable map cannot be replayed: {arguments[:200]}")
            case _:
                if _below(self._root, arguments):
                    raise NotImplementedError(f"{call.name} cannot be replayed: {arguments[:200]}")

    def _opened(self, call: Call) -> None:
        where = self._where(_paths(call.arguments)[0])
        if where is None or "O_DIRECTORY" in call.arguments:
            self._open.pop(call.result, None)
            return
        parent, name = where
        inode = self._live.names[parent].get(name)
        if inode is None:
            inode = self._new(is_folder=False)
            self._do(Operation("link", inode, parent, name))
        elif "O_TRUNC" in call.arguments and self._live.files.get(inode):
            self._do(Operation("truncate", inode))
        self._open[call.result] = (inode, 0, "O_APPEND" in call.arguments)

    def _written(self, call: Call) -> None:
        fd = int(call.arguments.split("<")[0])
        inode = self._inode_of(call.arguments)
        strings = _STRING.findall(call.arguments)
        data = _unescaped(strings[0])[: call.result] if strings else b""
        if inode is None:
            if _descriptor_path(call.arguments).startswith("pipe:"):
                self.events += [("told", json.loads(line)) for line in data.splitlines()]
            return
        if fd not in self._open or self._open[fd][0] != inode:
            raise NotImplementedError(f"a write to a descriptor of unknown position: {call.arguments[:200]}")
        _, position, appends = self._open[fd]
        if call.name == "pwrite64":
            self._do(Operation("write", inode, offset=int(call.arguments.rsplit(", ", 1)[1]), data=data))
            return
        position = len(self._live.files.get(inode, b"")) if appends else position
        self._do(Operation("write", inode, offset=position, data=data))
        self._open[fd] = (inode, position + len(data), appends)

    def _renamed(self, call: Call) -> None:
        source, target = (self._where(path) for path in _paths(call.arguments)[:2])
        if source is None and target is None:
            return
        if source is None or target is None or "RENAME_EXCHANGE" in call.arguments:
            raise NotImplementedError(f"a rename across the border: {call.arguments[:200]}")
        self._do(Operation("move", self._live.names[source[0]][source[1]], *source, *target))

    def _do(self, op: Operation) -> None:
        self._live.apply(op)
        self.events.append(op)

    def _new(self, is_folder: bool) -> int:
        inode = next(self._inodes)
        if is_folder:
            self._live.names[inode], self.before.names[inode] = {}, {}  # a folder, wherever it will be named
        return inode

    def _where(self, path: str) -> tuple[int, str] | None:
        """Return the parent's inode and the name of a path, None where it lies outside."""
        parts = _relative(self._root, path)
        if not parts:
            return None
        parent = 0
        for part in parts[:-1]:
            parent = self._live.names[parent][part]
        return parent, parts[-1]

    def _inode_of(self, arguments: str, index: int = 0) -> int | None:
        path = _descriptor_path(arguments, index)
        parts = _relative(self._root, path.removesuffix(" (deleted)"))
        if parts is None:
            return None
        inode = 0
        for part in parts:
            if part not in self._live.names.get(inode, {}):
                return None
            inode = self._live.names[inode][part]
        return inode


_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(?:AT_FDCWD|-?\d+)<([^>]*)>")


def _unescaped(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _descriptor_path(arguments: str, index: int = 0) -> str:
    argument = arguments if index == 0 else (arguments.split(", ") + [""] * index)[index]
    found = _DESCRIPTOR.match(argument)
    return os.fsdecode(_unescaped(found[1].replace(" (deleted)", ""))) if found else ""


def _paths(arguments: str) -> list[str]:
    """Return the paths that a call names, each joined to the folder whose descriptor stands before it."""
    found, folder = [], ""
    for part in re.finditer(rf"{_DESCRIPTOR.pattern}|{_STRING.pattern}", arguments):
        if part[2] is None:
            folder = os.fsdecode(_unescaped(part[1]))
        else:
            found.append(os.path.join(folder, os.fsdecode(_unescaped(part[2]))))
    return found


def _relative(root: Path, path: str) -> list[str] | None:
    """Return the parts of a path below `root`, None for one outside."""
    path = os.path.normpath(path) if path else ""
    prefix = str(root)
    if path == prefix:
        return []
    return path[len(prefix) + 1 :].split("/") if path.startswith(prefix + "/") else None


def _below(root: Path, arguments: str) -> bool:
    named = [os.fsdecode(_unescaped(found)) for found in _DESCRIPTOR.findall(arguments)] + _paths(arguments)
    return any(_relative(root, path) is not None for path in named)
