"""Sees whether reading a file does anything but read it: what Python itself reports of code, processes and files."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensor_optix.errors import TensorOptixError

_ALWAYS = {
    "pickle.find_class", "marshal.loads", "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.fork",
    "subprocess.Popen", "socket.connect", "socket.bind", "ctypes.dlopen",
}  # fmt: skip
_CHANGES = {
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "os.utime", "shutil.rmtree", "shutil.move",
}  # fmt: skip
_HARMLESS = ("/proc/meminfo",)

_root: str | None = None
_violations: list[str] = []
_installed = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _root is None:
        return
    if event in _ALWAYS:
        _violations.append(f"{event} {args!r:.200}")
    elif event == "import" and args[0] not in sys.modules:
        _violations.append(f"import {args[0]}")
    elif event == "open":
        path, mode, flags = args
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)) or any(
            c in str(mode) for c in "wa+x"
        )
        if writes or not _inside(path):
            _violations.append(f"open {path!r} {mode!r} {flags!r}")
    elif event in _CHANGES:
        _violations.append(f"{event} {args!r:.200}")


def _inside(path: Any) -> bool:
    if isinstance(path, int) or path in _HARMLESS:
        return True
    text = os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(path)))
    return _root is not None and (text == _root or text.startswith(_root + os.sep))


@contextlib.contextmanager
def watching(root: Path) -> Iterator[list[str]]:
    """Give the list of what happened, beyond reading files below `root`."""
    global _root, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _violations.clear()
    _root = str(root)
    try:
        yield _violations
    finally:
        _root = None


@dataclass
class Fuzzed:
    """What became of many damaged files.

    Args:
        root: below it they may be read.
    """

    root: Path
    refused: int = 0
    taken: int = 0
    failures: list[str] = field(default_factory=list)
    """What they did besides, and what came out untyped."""

    def takes(self, number: int, read: Callable[[], object]) -> bool:
        """Read one of them; False where it is refused."""
        taken = False
        try:
            with watching(self.root) as violations:
                read()
            taken = True
        except TensorOptixError:
            pass
        except Exception as error:  # noqa: BLE001, RUF100 - whatever comes out is a finding
            self.failures.append(f"{number}: {error!r:.300}")
        self.failures += [f"{number}: {violation}" for violation in violations]
        self.taken += taken
        self.refused += not taken
        return taken

    def summary(self) -> str:
        return f"{len(self.failures)} failures, {self.refused:,} refused, {self.taken:,} taken {self.failures[:1]}"
