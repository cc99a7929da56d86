"""Damaged and hostile weights, training states, metadata and histories: refused by type, without any effect."""

import functools
import json
import pickle
import random
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensor_optix.core.loop.history import parse_record
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.support.schemas import decode_object
from tests.conftest import Goal
from tests.fakes.histories import COMMIT, record
from tests.fakes.reports import EVOLVED, report
from tests.soak import mutations
from tests.soak.oracle import Fuzzed, watching
from tests.soak.targets import METADATA, SmallAgent, saved

SEED = 20_240_607
MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
QUICK_FILES, FULL_FILES = 1_500, 200_000
QUICK_METADATA, FULL_METADATA = 4_000, 500_000
ALLOWANCE = 64 << 20


def fuzz_files(folder: Path, count: int, seed: int) -> Fuzzed:
    """Load `count` mutants; what they change or take beyond what they may fails."""
    rng, agent = random.Random(seed), SmallAgent(0)
    originals, target = saved(folder), folder / "m.safetensors"
    before = agent.fingerprint()
    done = Fuzzed(folder)
    for trial in range(count):
        which = trial % 2
        data = mutations.mutated_file(originals[which], originals[1 - which], rng)
        target.write_bytes(data)
        load = agent.load_training_state if which else agent.load_weights
        if trial % 100 == 0:
            tracemalloc.start()
        if done.takes(trial, functools.partial(load, str(folder / "m"))):
            agent = SmallAgent(0)
        else:
            assert agent.fingerprint() == before, f"mutant {trial} of seed {seed} was refused and changed the agent"
        if trial % 100 == 0:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= 2 * len(data) + ALLOWANCE, f"mutant {trial} of seed {seed} took {peak} bytes"
    return done


def _snapshot_in(data: bytes) -> None:
    PolicySnapshot.from_dict(decode_object(data, "metadata.json").get("snapshot"))  # type: ignore[arg-type]


def _report_in(data: bytes) -> None:
    TrainingReport.from_dict(decode_object(data, "report.json"))


def _record_in(data: bytes) -> None:
    parse_record(data, "Line 1")


def fuzz_json(folder: Path, count: int, seed: int) -> Fuzzed:
    """Decode `count` mutants of what is written as JSON."""
    rng = random.Random(seed)
    kinds: list[tuple[bytes, Callable[[bytes], None]]] = [
        (json.dumps(METADATA).encode(), _snapshot_in),
        (json.dumps(report(**EVOLVED).to_dict()).encode(), _report_in),
        (json.dumps(record(3, is_best=True, tuning=(COMMIT,)).to_dict()).encode(), _record_in),
    ]
    for text, decode in kinds:
        decode(text)  # the originals are good, and everything is imported
    done = Fuzzed(folder)
    for trial in range(count):
        text, decode = kinds[trial % 3]
        done.takes(trial, functools.partial(decode, mutations.mutated_json(text, rng)))
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where the system has one: it is the loader that is tried here, not the disk."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


@pytest.mark.parametrize("count", [QUICK_FILES, pytest.param(FULL_FILES, marks=[pytest.mark.slow])])
@pytest.mark.timeout(900)
def test_mutated_weights_and_training_states_never_run_code_nor_change_the_agent(
    folder: Path, count: int, goal: Goal
) -> None:
    done = fuzz_files(folder, count, SEED)
    goal("G25 snapshots", f"0 code executions, 0 untyped errors in {count:,}", done.summary(), not done.failures)
    assert done.refused > count // 2
    assert done.taken > 0  # or the mutants would be too wild to get past the first check


@pytest.mark.parametrize("count", [QUICK_METADATA, pytest.param(FULL_METADATA, marks=[pytest.mark.slow])])
@pytest.mark.timeout(900)
def test_mutated_metadata_reports_and_histories_are_refused_by_type(tmp_path: Path, count: int, goal: Goal) -> None:
    done = fuzz_json(tmp_path, count, SEED)
    goal("G26 metadata", f"0 outside effects, 0 untyped errors in {count:,}", done.summary(), not done.failures)
    assert done.refused > count // 2
    assert done.taken > 0


class Payload:
    def __reduce__(self) -> tuple:
        return (len, ((),))


@pytest.mark.soak
def test_the_oracle_sees_a_pickle_a_write_an_import_and_a_file_elsewhere(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    inside.mkdir()
    (inside / "x").write_text("x")
    outside = tmp_path / "outside"
    outside.write_text("x")
    data = pickle.dumps(Payload())
    with watching(inside) as violations:
        (inside / "x").read_text()
        assert violations == []
        pickle.loads(data)  # noqa: S301 - the payload is ours, and must be a live one
        outside.read_text()
        (inside / "y").write_text("y")
        compile("1", "x", "eval")
    for event in ("pickle.find_class", str(outside), str(inside / "y"), "compile"):
        assert any(event in seen for seen in violations), (event, violations)
