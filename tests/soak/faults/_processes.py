"""What processes there are: the children of one, and whether one is still there."""

import contextlib
from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the children of a process, those that are just starting included."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


def is_there(pid: int) -> bool:
    """Return whether a process is there, and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
