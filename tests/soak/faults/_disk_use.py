"""How much of the disk a directory takes at most."""

from tests.soak.faults._power import most_bytes, record
from tests.soak.faults._zygote import Zygote

MAX_SNAPSHOTS = 2


LARGE = 1 << 14
"""Weights of an agent whose snapshots are hardly anything else."""


def disk_use(zygote: Zygote, workload: str, mutant: str | None = None) -> tuple[int, int]:
    """Return the most bytes that a directory held at any moment, and how many are promised at most."""
    snapshot = record(zygote, "roll back", size=LARGE).recording.before.bytes_held()
    most = most_bytes(record(zygote, workload, size=LARGE, rounds=2, mutant=mutant))
    return most, (MAX_SNAPSHOTS + 4) * snapshot
