"""Power loss: every disk that a power cut could leave of a recorded workload, each reopened."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.conftest import Goal
from tests.soak.faults import _workloads
from tests.soak.faults._disk_use import disk_use
from tests.soak.faults._ledger import RUN, bytes_below
from tests.soak.faults._power import cut_power, record, scratch
from tests.soak.faults._strace import needs_strace
from tests.soak.faults._zygote import Zygote

pytestmark = needs_strace

STATES = 5_000
"""Different disks in all, at least."""
QUICK_SHARE, FULL_ROUNDS, SUBSETS = 0.1, 2, 32


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


@pytest.mark.slow
def test_a_sample_of_the_disks_that_a_power_cut_could_leave_opens(zygote: Zygote, fault_seed: int, goal: Goal) -> None:
    print(f"--fault-seed {fault_seed}")
    rng = np.random.default_rng(fault_seed)
    disks, failures = set(), []
    for workload in _workloads.WORKLOADS:
        found = cut_power(record(zygote, workload), rng, subsets=4, share=QUICK_SHARE)
        disks |= found.disks
        failures += found.failures
    assert len(disks) > 100
    goal("G3", "0 failures", f"{len(failures)} in {len(disks)} different disks {failures[:1]}", not failures)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_disk_that_a_power_cut_could_leave_opens(zygote: Zygote, fault_seed: int, goal: Goal) -> None:
    print(f"--fault-seed {fault_seed}")
    disks, examined, failures = set(), 0, []
    for workload in _workloads.WORKLOADS:
        found = cut_power(record(zygote, workload, rounds=FULL_ROUNDS), np.random.default_rng(fault_seed), SUBSETS)
        print(f"{workload}: {len(found.failures)} failures in {len(found.disks)} disks, {found.examined} examined")
        disks |= found.disks
        examined += found.examined
        failures += found.failures
    measured = f"{len(failures)} in {len(disks)} different disks, {examined} examinations {failures[:1]}"
    goal("G3", f"0 failures in >= {STATES} different disks", measured, not failures and len(disks) >= STATES)


# --- how much of the disk is taken ---


@pytest.mark.soak
@pytest.mark.parametrize(
    "workload", ["save and prune", "rescore", "spawn and prune", *(["resume"] * ("resume" in _workloads.WORKLOADS))]
)
def test_a_directory_never_holds_more_than_promised(zygote: Zygote, workload: str, goal: Goal) -> None:
    most, promised = disk_use(zygote, workload)
    goal(f"G23 {workload}", f"<= {promised} bytes at any moment", f"{most} bytes", 0 < most <= promised)


@pytest.mark.soak
def test_a_registry_that_does_not_prune_is_found(zygote: Zygote) -> None:
    most, promised = disk_use(zygote, "save and prune", mutant="nothing is pruned")
    assert most > promised


@pytest.mark.soak
def test_the_recording_ends_with_the_disk_that_is_there(zygote: Zygote) -> None:
    # The replay is worth nothing if it misses a call: its last disk must be the one that the kernel made.
    with scratch() as folder, zygote.start(workload="save and prune", directory=str(folder / RUN)) as child:
        child.prepare()
        child.go()
        list(child.read())
        assert child.wait() == 0
        there = bytes_below(folder)
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    recorded = record(zygote, "save and prune")
    disk = recorded.recording.before.copy()
    for event in recorded.recording.events:
        if not isinstance(event, tuple):
            disk.apply(event)
    assert {path for path, _ in disk.tree()} == names
    assert disk.bytes_held() == there
