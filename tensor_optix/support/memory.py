"""What a replay memory takes, and what there is."""

import math
import os
from typing import Protocol

import numpy as np


class HasShape(Protocol):
    """An array-like whose size is known, such as a Gymnasium space or an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        ...

    @property
    def dtype(self) -> np.dtype | type:
        """The type of its elements."""
        ...


def transition_bytes(*, observation: HasShape, action: HasShape) -> int:
    """Return the bytes that one transition takes, for an estimate before anything is stored.

    Args:
        observation: what one looks like.
        action: the same.
    """
    sizes = (math.prod(part.shape) * np.dtype(part.dtype).itemsize for part in (observation, action))
    return sum(sizes) + 4 + 1 + 4  # reward, terminated, id of the final observation


def free_memory() -> int | None:
    """Return the bytes of memory that are free for use, None where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def resident_memory() -> int:
    """Return the bytes of this process that are in memory, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def memory_kills() -> int | None:
    """Return how many processes the system has ended for want of memory, None where it does not tell."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), None)
    except (OSError, ValueError, IndexError):
        return None


def private_memory() -> int:
    """Return the bytes of this process that it shares with no other, 0 where the system does not tell."""
    try:
        with open("/proc/self/smaps_rollup") as file:
            return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Private_"))
    except (OSError, ValueError, IndexError):
        return 0
