"""How many cores there are, and whether workers and their threads fit."""

import contextlib
import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = _QUOTA) -> int:
    """Return how many cores this process may use, at least 1: by its affinity, and by the quota of its container.

    Args:
        quota: where the container says how much time it has per period.
    """
    get_affinity = getattr(os, "sched_getaffinity", None)
    found = len(get_affinity(0)) if get_affinity is not None else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no container, or no quota
        most, period = quota.read_text().split()
        found = min(found, math.ceil(int(most) / int(period)))
    return max(found, 1)


def over_budget(workers: int, threads: int, available: int) -> str:
    """Return a sentence where workers × threads is more than the cores there are; empty where it fits.

    Args:
        workers: that run at once.
        threads: of each.
        available: cores.
    """
    if workers * threads <= available:
        return ""
    fitting = max(available // threads, 1)
    return (
        f"{workers} workers with {threads} thread{'s' * (threads != 1)} each want {workers * threads} cores, but there "
        f"{'is' if available == 1 else 'are'} {available}: they take turns, and each is slower. {fitting} would fit."
    )
