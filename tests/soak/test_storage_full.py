"""A storage that fails: each system call in turn returns an error, a disk fills up, and one becomes read-only."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import Goal
from tests.soak.faults import _workloads
from tests.soak.faults._failing import ERRORS, Failing, fail_each_call
from tests.soak.faults._ledger import RUN, Ledger, Message, bytes_below, examine
from tests.soak.faults._power import scratch
from tests.soak.faults._strace import needs_strace
from tests.soak.faults._zygote import Zygote

QUOTAS, QUICK_QUOTAS = 30, 5
LARGE = 50_000
"""Weights of an agent whose snapshot takes some fifty pages, so that a quota may cut it anywhere."""


def why_no_mounts() -> str | None:
    """Return why a disk of a given size cannot be mounted here, None where it can."""
    if os.name != "posix" or shutil.which("unshare") is None:
        return "needs unshare (util-linux)"
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", "/mnt"]
    probe = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    return None if probe.returncode == 0 else f"may not mount here: {probe.stderr.decode().strip()[-200:]}"


needs_mounts = pytest.mark.skipif(why_no_mounts() is not None, reason=str(why_no_mounts()))


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


# --- each system call ---


def summary(done: Failing) -> str:
    return (
        f"{len(done.failures)} failures in {done.errors} errors, {done.refused} of them refused, {done.litter} left "
        f"litter {done.failures[:1]}"
    )


@needs_strace
@pytest.mark.parametrize(("error", "calls"), [("ENOSPC", ("write", "rename")), ("EIO", ("fsync",))])
def test_a_save_whose_call_fails_is_not_said_to_be_done(
    zygote: Zygote, error: str, calls: tuple[str, ...], goal: Goal
) -> None:
    done = fail_each_call(zygote, "rescore", error, calls)
    assert done.errors >= 15
    assert done.refused > 0
    goal(f"G7 {error}", "0 false saved, 0 corrupt, all typed", summary(done), not done.failures)


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("error", ERRORS)
def test_no_error_of_any_call_makes_a_save_false(zygote: Zygote, error: str, goal: Goal) -> None:
    done = Failing()
    for workload in _workloads.WORKLOADS:
        done.add(fail_each_call(zygote, workload, error))
    assert done.errors > 100
    assert done.refused > done.errors / 10
    assert done.missed <= len(_workloads.WORKLOADS) * len(ERRORS[error])
    goal(f"G7 {error}", "0 false saved, 0 corrupt, all typed", summary(done), not done.failures)


@needs_strace
@pytest.mark.soak
@pytest.mark.parametrize("mutant", ["a failed sync is ignored", "a failed save is said to be done"])
def test_failing_calls_find_a_registry_that_hides_them(zygote: Zygote, mutant: str) -> None:
    error, call = ("EIO", "fsync") if "sync" in mutant else ("ENOSPC", "write")
    assert fail_each_call(zygote, "save and prune", error, (call,), mutant, first_only=True).failures


# --- a disk that is too small ---


def live_on(zygote: Zygote, disk_bytes: int, mutant: str | None = None) -> tuple[list[Message], Ledger, list[str]]:
    """Save on a disk of this size, then on a larger one; return what was told and what is broken at the end."""
    with scratch() as folder:
        (folder / "disk").mkdir()
        ledger = Ledger(surplus={})
        job = {"directory": str(folder / "disk" / RUN), "size": LARGE, "disk_bytes": disk_bytes, "mutant": mutant}
        with zygote.start(workload="small disk", **job) as child:
            messages = child.prepare()
            child.go()
            messages += child.read()
        for message in messages:
            ledger.feed(message)
        broken = ledger.errors + (examine(folder / "copy", ledger) if (folder / "copy").exists() else ["no copy"])
        return messages, ledger, broken


def saved_at_once_after(messages: list[Message], kind: str) -> list[bool]:
    """Return, for each message of a kind, whether the operation after it was done at its first attempt."""
    ends = [message for message in messages if message["kind"] in (kind, "done", "failed")]
    return [after["kind"] == "done" for before, after in itertools.pairwise(ends) if before["kind"] == kind]


def check_quotas(zygote: Zygote, number: int, goal: Goal) -> None:
    with scratch() as folder, zygote.start(workload="roll back", directory=str(folder / RUN), size=LARGE) as child:
        child.prepare()
        snapshot = bytes_below(folder)
    failures, refused, litter = [], 0, 0
    for index in range(number):
        share = 0.1 + (3.0 - 0.1) * index / (number - 1)
        messages, ledger, broken = live_on(zygote, int(share * snapshot))
        failures += [f"at {share:.0%} of a snapshot: {what}" for what in broken]
        if saved_at_once_after(messages, "space") != [True, True]:
            failures.append(f"at {share:.0%} of a snapshot: the next save after space is back failed")
        if saved_at_once_after(messages, "read-only") != [False]:
            failures.append(f"at {share:.0%} of a snapshot: a save to a read-only disk was said to be done")
        assert ledger.failed >= (
            2 if share > 1 else 6
        )  # each of the faults is met: full (unless it is large), read-only
        refused += ledger.failed
        litter += ledger.litter
    measured = f"{len(failures)} failures, {refused} saves refused, {litter} left litter {failures[:1]}"
    goal("G7 full disk", f"0 failures on {number} disks of 10 % to 300 % of a snapshot", measured, not failures)


@needs_mounts
def test_a_full_or_read_only_disk_refuses_saves_and_loses_none(zygote: Zygote, goal: Goal) -> None:
    check_quotas(zygote, QUICK_QUOTAS, goal)


@needs_mounts
@pytest.mark.slow
def test_thirty_full_or_read_only_disks_refuse_saves_and_lose_none(zygote: Zygote, goal: Goal) -> None:
    check_quotas(zygote, QUOTAS, goal)


@needs_mounts
@pytest.mark.soak
def test_a_full_disk_finds_a_registry_that_says_it_has_saved(zygote: Zygote) -> None:
    _, _, broken = live_on(zygote, LARGE, mutant="a failed save is said to be done")
    assert broken
