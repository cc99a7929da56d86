"""`strace` attached to a child: what it did is recorded, and its n-th call of a kind is made to kill it or to fail.

It is attached only when the child waits for its `go`, so that a call's number counts from there and imports cost
nothing. `strace -P directory` is not used: it does not match files below the directory.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.soak.faults._zygote import PATIENCE, Child

CHANGING = tuple(
    "open openat creat write writev pwrite64 pwritev pwritev2 truncate ftruncate fallocate fsync fdatasync sync syncfs "  # noqa: SIM905 - a table of names reads better so
    "sync_file_range rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat mkdir mkdirat rmdir lseek "
    "dup dup2 dup3 fcntl sendfile copy_file_range splice mmap".split()
)
"""What can change a file system, or where the next write goes."""
READING = ("read", "getdents64")
KILLED_AT = ("write", "rename", "renameat", "renameat2", "fsync", "unlink", "unlinkat", "rmdir", "mkdir", "openat")


@dataclass(frozen=True)
class Call:
    """One finished system call."""

    name: str
    arguments: str
    """As strace prints them."""
    result: int
    """What it returned; -1 for an error."""
    is_injected: bool = False


def unavailable() -> str | None:
    """Return why strace cannot be used here, None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with contextlib.suppress(OSError, ValueError):
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
        if scope and os.geteuid():
            return "strace may not attach here: kernel.yama.ptrace_scope forbids it to users other than root"
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)  # noqa: S603, S607
    return None if probe.returncode == 0 else f"strace may not trace here: {probe.stderr.decode()[-200:]}"


needs_strace = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


@contextlib.contextmanager
def attached(child: Child, *options: str, output: str | os.PathLike[str] = os.devnull) -> Iterator[None]:
    """Trace a child until it ends; the child must have ended, or been let go, by the end of the block."""
    command = ["strace", "-f", "-p", str(child.pid), "-o", os.fspath(output), *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)  # noqa: S603
    assert tracer.stderr is not None
    try:
        line = tracer.stderr.readline()
        if b"attached" not in line:
            raise RuntimeError(f"strace did not attach: {line.decode()}")
        yield
        tracer.wait(PATIENCE)
    finally:
        if tracer.poll() is None:
            tracer.terminate()
            tracer.wait(PATIENCE)
        tracer.stderr.close()


def injecting(call: str, fault: str, when: str) -> list[str]:
    """Return the options that inject `fault` (`signal=KILL`, `error=EIO`) into the calls `when` counts."""
    return ["-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}"]


def recording() -> list[str]:
    """Return the options that record all that changes files, byte for byte."""
    return ["-y", "-xx", "-s", "9999999", "-e", "trace=" + ",".join(f"?{name}" for name in (*CHANGING, *READING))]


_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)(?P<note>.*)")


def calls_in(log: Path) -> Iterator[Call]:
    """Yield the finished calls of a recording, in the order in which they returned."""
    started: dict[str, str] = {}
    with log.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            if found is None:
                continue
            pid, rest = found["pid"], found["rest"]
            if rest.endswith("<unfinished ...>"):
                started[pid] = rest.removesuffix("<unfinished ...>").rstrip()
                continue
            resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
            if resumed:
                rest = started.pop(pid) + resumed[1]
            call = _CALL.match(rest)
            if call is None:
                continue
            result = -1 if call["result"] == "?" else int(call["result"])
            yield Call(call["name"], call["arguments"], result, "(INJECTED)" in call["note"])


def count_calls(log: Path) -> dict[str, int]:
    """Return how often each call of a recording was made."""
    counts: dict[str, int] = {}
    for call in calls_in(log):
        counts[call.name] = counts.get(call.name, 0) + 1
    return counts


def creating_calls(log: Path) -> set[int]:
    """Return the numbers, from 1, of the `openat` that may create a file."""
    opened = (call for call in calls_in(log) if call.name == "openat")
    return {number for number, call in enumerate(opened, 1) if "O_CREAT" in call.arguments}
