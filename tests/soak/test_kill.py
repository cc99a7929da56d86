"""`kill -9` of a process that saves: at random moments, and before each of its system calls."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.conftest import Goal
from tests.helpers import HANG_S
from tests.soak.faults import _workloads
from tests.soak.faults._ledger import RUN, Ledger, examine
from tests.soak.faults._power import complaints, record, scratch
from tests.soak.faults._strace import KILLED_AT, attached, injecting, needs_strace
from tests.soak.faults._zygote import Zygote

QUICK_KILLS, FULL_KILLS = 40, {"numpy": 500, "torch": 60, "tf": 60}
LONGEST_S = 0.04
"""A kill comes within this time: some ten saves."""
REOPEN_P95_S = 0.2
IMPORTS = {
    "numpy": (),
    "torch": ("tensor_optix.factory", "tensor_optix.algorithms.torch_ppo"),
    "tf": ("tensor_optix.factory", "tensor_optix.algorithms.tf_ppo"),
}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


# --- at random moments ---


@dataclass
class Kills:
    """What became of one directory through many lives of its writer."""

    ledger: Ledger = field(default_factory=lambda: Ledger(max_snapshots=3))
    acknowledged: int = 0
    mid_operation: int = 0
    """Kills between the beginning and the end of an operation."""
    reopened: list[float] = field(default_factory=list)
    """Seconds it took to open."""

    def summary(self) -> str:
        p95 = 1000 * float(np.percentile(self.reopened, 95))
        return (
            f"{len(self.ledger.errors)} errors, {self.acknowledged} acknowledged, {self.mid_operation} kills inside an "
            f"operation, reopen p95 {p95:.0f} ms{'; first: ' + self.ledger.errors[0] if self.ledger.errors else ''}"
        )


def kill_at_random(
    zygote: Zygote, kills: int, seed: int, agent: str = "numpy", mutant: str | None = None, longest: float = LONGEST_S
) -> Kills:
    """Let a writer live that often in one directory, each life ended by `kill -9`, and a last one to look.

    Every other life is timed from when it has opened the registry, so that a slow machine also gets that far.
    """
    rng = np.random.default_rng(seed)
    done = Kills()
    with scratch() as folder:
        for life in range(kills + 1):
            job = {"agent": agent, "mutant": mutant, "max_snapshots": 3, "seed": [seed, life]}
            job |= {"directory": str(folder / RUN), "first_value": 1000 * life + 1}
            with zygote.start(workload="endless", **job) as child:
                child.prepare()
                child.go()
                messages = list(child.read("reopened")) if life % 2 or life == kills else []
                if life < kills:
                    time.sleep(rng.uniform(0, longest))
                    child.kill()
                    messages += child.read()
            for message in messages:
                done.ledger.feed(message)
                done.acknowledged += message["kind"] == "done"
                if message["kind"] == "reopened":
                    done.reopened.append(message["seconds"])
            done.mid_operation += done.ledger.pending is not None
    return done


def test_a_registry_survives_random_kills(zygote: Zygote, fault_seed: int, goal: Goal) -> None:
    print(f"--fault-seed {fault_seed}")
    done = kill_at_random(zygote, QUICK_KILLS, fault_seed)
    assert done.mid_operation > QUICK_KILLS / 4  # the kills hit what they should
    assert len(done.reopened) >= QUICK_KILLS / 2
    goal("G1", f"0 errors in {QUICK_KILLS} kills", done.summary(), not done.ledger.errors)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("agent", ["numpy", "torch", "tf"])
def test_a_registry_survives_hundreds_of_random_kills(agent: str, fault_seed: int, goal: Goal, timing: Goal) -> None:
    print(f"--fault-seed {fault_seed}")
    kills = FULL_KILLS[agent]
    with Zygote(*IMPORTS[agent]) as zygote:
        done = kill_at_random(zygote, kills, fault_seed, agent, longest=LONGEST_S if agent == "numpy" else 0.1)
    assert done.mid_operation > kills / 4
    assert len(done.reopened) >= kills / 2
    goal(f"G1 {agent}", f"0 errors in {kills} kills", done.summary(), not done.ledger.errors)
    p95 = float(np.percentile(done.reopened, 95))
    timing(f"G1 {agent} reopen", f"p95 <= {1000 * REOPEN_P95_S:.0f} ms", f"{1000 * p95:.1f} ms", p95 <= REOPEN_P95_S)
    assert max(done.reopened) <= HANG_S


@pytest.mark.soak
def test_random_kills_find_a_registry_that_copies_into_place(zygote: Zygote, fault_seed: int) -> None:
    mutant = "copied into place instead of renamed"
    assert complaints(zygote, "save and prune", mutant) == []
    done = kill_at_random(zygote, QUICK_KILLS, fault_seed, mutant=mutant)
    assert done.ledger.errors


# --- before each system call ---


def kills_at_each_call(
    zygote: Zygote, workload: str, calls: tuple[str, ...], mutant: str | None = None, first_only: bool = False
) -> tuple[int, list[str]]:
    """Kill a workload before each call of these kinds, and return how often that was and what did not recover."""
    counts = record(zygote, workload, mutant=mutant).counts
    kills, failures = 0, []
    for call in calls:
        for number in range(1, counts.get(call, 0) + 1):
            killed, broken = kill_at(zygote, workload, call, number, mutant)
            assert killed, f"{workload}: there was no {call} number {number}: the workload is not the same each time"
            kills += 1
            failures += [f"{workload}, {call} {number}: {what}" for what in broken]
            if failures and first_only:
                return kills, failures
    return kills, failures


def kill_at(zygote: Zygote, workload: str, call: str, number: int, mutant: str | None) -> tuple[bool, list[str]]:
    """Kill a workload before its call of that number; return whether that happened and what did not recover."""
    with scratch() as folder:
        ledger = Ledger()
        with zygote.start(workload=workload, directory=str(folder / RUN), mutant=mutant) as child:
            for message in child.prepare():
                ledger.feed(message)
            with attached(child, *injecting(call, "signal=KILL", str(number))):
                child.go()
                for message in child.read():
                    ledger.feed(message)
                status = child.wait()
        return status == -9, ledger.errors + examine(folder / RUN, ledger)


@needs_strace
def test_a_save_recovers_from_a_kill_before_each_rename_and_directory(zygote: Zygote, goal: Goal) -> None:
    kills, failures = kills_at_each_call(zygote, "save and prune", ("rename", "mkdir", "unlinkat"))
    assert kills > 20
    goal("G2", "100 % recover", f"{len(failures)} failures in {kills} kills {failures[:1]}", not failures)


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workload", _workloads.WORKLOADS)
def test_every_workload_recovers_from_a_kill_before_each_call(zygote: Zygote, workload: str, goal: Goal) -> None:
    kills, failures = kills_at_each_call(zygote, workload, KILLED_AT)
    assert kills > 50
    goal(f"G2 {workload}", "100 % recover", f"{len(failures)} failures in {kills} kills {failures[:1]}", not failures)


@needs_strace
@pytest.mark.soak
@pytest.mark.parametrize("mutant", ["copied into place instead of renamed", "deleted under its own name"])
def test_kills_before_each_call_find_a_faulty_registry(zygote: Zygote, mutant: str) -> None:
    assert complaints(zygote, "save and prune", mutant) == []
    _, failures = kills_at_each_call(zygote, "save and prune", ("openat", "unlinkat"), mutant, first_only=True)
    assert failures
