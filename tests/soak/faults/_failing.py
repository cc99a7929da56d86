"""A workload one of whose system calls returns an error."""

from dataclasses import dataclass, field

from tests.soak.faults._power import broken_after_an_error, record
from tests.soak.faults._strace import READING
from tests.soak.faults._zygote import Zygote

ERRORS = {
    "ENOSPC": ("write", "openat", "mkdir", "rename", "fsync"),
    "EIO": ("write", "openat", "mkdir", "rename", "fsync", "unlink", "unlinkat", "rmdir", *READING),
    "EROFS": ("openat", "mkdir", "rename", "unlink", "unlinkat", "rmdir"),
}
"""Which calls can return an error; ENOSPC and EROFS only those `openat` that may create."""


@dataclass
class Failing:
    """What came of it."""

    errors: int = 0
    """How many were injected, one per run."""
    refused: int = 0
    """Runs in which an operation said that it had failed; in the others it did without the call."""
    missed: int = 0
    """Runs that came to their end before the call."""
    litter: int = 0
    """Operations that left something unfinished for the next opening."""
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Failing") -> None:
        self.errors += other.errors
        self.refused += other.refused
        self.missed += other.missed
        self.litter += other.litter
        self.failures += other.failures


def fail_each_call(
    zygote: Zygote,
    workload: str,
    error: str,
    calls: tuple[str, ...] | None = None,
    mutant: str | None = None,
    first_only: bool = False,
) -> Failing:
    """Let each call of these kinds fail, one per run; see that nothing is lost, and nothing said that is not so.

    Args:
        zygote: what forks the processes.
        workload: its name.
        error: such as "EIO".
        calls: names of system calls; None for all that can return it.
        mutant: fault of the storage code.
        first_only: stop at the first failure.
    """
    done = Failing()
    plain = record(zygote, workload, mutant=mutant)
    for call in calls or ERRORS[error]:
        for number in range(1, plain.counts.get(call, 0) + 1):
            if call == "openat" and error != "EIO" and number not in plain.creating:
                continue
            done.add(_fail(zygote, workload, error, call, number, mutant))
            if done.failures and first_only:
                return done
    return done


def _fail(zygote: Zygote, workload: str, error: str, call: str, number: int, mutant: str | None) -> Failing:
    recorded = record(zygote, workload, (call, f"error={error}", str(number)), mutant=mutant)
    if ("injected", call) not in recorded.recording.events:
        return Failing(missed=1)
    recorded.ledger.may_quarantine = error == "EIO" and call in (*READING, "openat")
    where = f"{workload}, {error} at {call} {number}"
    failures = [f"{where}: {what}" for what in broken_after_an_error(recorded)]
    refused = [message for message in recorded.told if message["kind"] == "failed"]
    litter = sum(bool(message.get("litter")) for message in recorded.told if message["kind"] == "holds")
    if recorded.told[-1]["kind"] != "end":
        failures.append(f"{where}: the process ended with {recorded.status}")
    if len(refused) > 1:
        failures.append(f"{where}: the repetition failed too: {refused[1]['error']}")
    return Failing(errors=1, refused=bool(refused), litter=litter, failures=failures)
