"""Each fault that is planted in the storage code is found: what finds nothing elsewhere can find something."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage import atomic, tree
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError, CheckpointLockedError
from tests.conftest import Goal
from tests.soak.faults import _workloads
from tests.soak.faults._agents import FilledAgent
from tests.soak.faults._disk_use import disk_use
from tests.soak.faults._failing import fail_each_call
from tests.soak.faults._ledger import Ledger, examine, quiet
from tests.soak.faults._mutants import MUTANTS
from tests.soak.faults._power import cut_power, record
from tests.soak.faults._strace import needs_strace
from tests.soak.faults._zygote import Zygote

QUICK = ("the directory is not synced", "renamed before synced", "deleted under its own name")
LEAST = 12
FLIPS = 200
RECORDED = ("replay", "failing calls", "disk use")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


# --- what a process does, recorded or made to fail ---


def found_by_replay(zygote: Zygote, name: str, workloads: tuple[str, ...]) -> list[str]:
    """Return what power cuts break with a mutant in force."""
    failures: list[str] = []
    for workload in workloads:
        recorded = record(zygote, workload, mutant=name)
        # The mutant works, as long as nothing befalls it.
        assert recorded.told[-1]["kind"] == "end"
        assert [message for message in recorded.told if message["kind"] in ("failed", "violated")] == []
        failures += cut_power(recorded, np.random.default_rng(0), 8, first_only=not MUTANTS[name].equivalent).failures
    return failures


def found_in_a_process(zygote: Zygote, name: str) -> list[str]:
    mutant = MUTANTS[name]
    if mutant.found_by == "replay":
        return found_by_replay(zygote, name, mutant.workloads)
    if mutant.found_by == "disk use":
        most, promised = disk_use(zygote, "save and prune", name)
        return [f"{most} bytes"] * (most > promised)
    error, call = ("EIO", "fsync") if "sync" in name else ("ENOSPC", "write")
    return fail_each_call(zygote, "save and prune", error, (call,), name, first_only=True).failures


@needs_strace
@pytest.mark.parametrize("name", QUICK)
def test_a_power_cut_finds_a_planted_fault(zygote: Zygote, name: str) -> None:
    assert found_in_a_process(zygote, name)


# --- what a reader or a second writer is shown ---


def undetected_flips(directory: Path) -> list[str]:
    """Flip bits of a snapshot, one at a time, and return those with which it is loaded all the same."""
    agent, missed, rng = FilledAgent(50), [], np.random.default_rng(0)
    registry = CheckpointRegistry(directory)
    snapshot = registry.save(agent, EvalMetrics(1.0))
    files = sorted(path for path in registry.path_of(snapshot).rglob("*") if path.is_file())
    for _ in range(FLIPS):
        path = files[rng.integers(len(files))]
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[position := int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            registry.load_best(agent)
        except CheckpointCorruptError:
            pass
        except Exception as error:  # noqa: BLE001, RUF100 - found by chance, and too late
            missed.append(f"{path.name} byte {position}: {error!r}")
        else:
            missed.append(f"{path.name} byte {position}")
        path.write_bytes(data)
    registry.close()
    return missed


def planted_file_written_over(directory: Path) -> list[str]:
    directory.mkdir()
    (directory / "file").write_bytes(b"theirs")
    with contextlib.suppress(FileExistsError):
        atomic.write_file(directory / "file", b"ours")
        return ["written over"]
    return []


def planted_link_followed(directory: Path) -> list[str]:
    (directory / "snapshot").mkdir(parents=True)
    (directory / "elsewhere").write_bytes(b"x")
    (directory / "snapshot" / "link").symlink_to(directory / "elsewhere")
    with contextlib.suppress(CheckpointCorruptError):
        return list(tree.checksums(directory / "snapshot"))
    return []


def litter_left(directory: Path) -> list[str]:
    (directory / ".tmp-snapshot_1-1").mkdir(parents=True, mode=0o700)
    directory.chmod(0o700)
    return [broken for broken in examine(directory, Ledger(), saves_on=False) if broken.startswith("litter")]


def second_writer_let_in(directory: Path) -> list[str]:
    with Zygote() as zygote, zygote.start(workload="rescore", directory=str(directory)) as child:
        child.prepare()  # it has saved, and holds the lock
        with contextlib.suppress(CheckpointLockedError):
            CheckpointRegistry(directory).open()
            return ["opened"]
    return []


SHOWN: dict[str, Callable[[Path], list[str]]] = {
    "flipped bits": undetected_flips,
    "planted files": planted_file_written_over,
    "planted links": planted_link_followed,
    "litter": litter_left,
    "second writer": second_writer_let_in,
}


def found_when_shown(name: str, tmp_path: Path) -> list[str]:
    with MUTANTS[name].apply(), quiet():
        return SHOWN[MUTANTS[name].found_by](tmp_path / "mutated")


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.found_by in SHOWN])
def test_what_is_shown_to_a_reader_finds_a_planted_fault_and_no_other(name: str, tmp_path: Path) -> None:
    with quiet():
        assert SHOWN[MUTANTS[name].found_by](tmp_path / "as it is") == []
    assert found_when_shown(name, tmp_path)


# --- all of them ---


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_planted_fault_is_found(zygote: Zygote, tmp_path: Path, goal: Goal) -> None:
    killed, survived, equivalent = [], [], []
    for number, (name, mutant) in enumerate(MUTANTS.items()):
        if not set(mutant.workloads) <= set(_workloads.WORKLOADS):
            continue
        where = tmp_path / str(number)
        where.mkdir()
        in_process = mutant.found_by in RECORDED
        found = found_in_a_process(zygote, name) if in_process else found_when_shown(name, where)
        if mutant.equivalent:
            equivalent.append(name)
            assert not found, f"{name} is said to be equivalent ({mutant.equivalent}), but: {found[0]}"
        else:
            (killed if found else survived).append(name)
        verdict = "equivalent: " + mutant.equivalent if mutant.equivalent else found[0] if found else "SURVIVED"
        print(f"{name}: {verdict}")
    assert len(killed) >= LEAST
    measured = f"{len(killed)} killed, {len(equivalent)} equivalent, survived: {survived}"
    goal("G4", f"all non-equivalent of >= {LEAST} mutants killed", measured, not survived)
