"""G32: a test that passes once passes always: in another order, with another hash seed, on a busy machine."""

import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Goal
from tests.soak.outcomes import run_tests

RUNS = 20
REPEATED = (
    "tests/support",
    "tests/executors",
    "tests/core/loop",
    "tests/core/storage/test_resume_ring.py",
    "tests/core/storage/test_several_writers.py",
    "tests/core/storage/test_shared_directory.py",
    "tests/pipeline/feed",
    "tests/pipeline/environment/workers",
    "tests/pipeline/test_live_pipeline.py",
)
"""Where threads, processes, clocks and files are: what may come out otherwise another time."""
WHOLE_RUNS = (
    "championship",
    "decider",
    "escaping",
    "ordered_evaluator",
    "run_snapshots",
    "simulation",
    "target",
    "untrained",
    "validation_in_runs",
    "watch",
)
"""Of `tests/core/loop`: a tenth of the tests here, three quarters of the time, and runs that their seeds decide."""
LEFT_OUT = tuple(f"--ignore=tests/core/loop/test_{name}.py" for name in WHOLE_RUNS)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Run so many busy loops beside the block."""
    command = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen(command))  # noqa: S603 - our own
            stack.callback(process.kill)
        yield


def outcomes(tests: Sequence[str], runs: int, seed: int, directory: Path, *options: str) -> dict[str, list[str]]:
    """Run tests so often, each time in another order and with another hash seed; return what came of each.

    Args:
        tests: files and folders.
        runs: how often.
        seed: of the orders and of the hash seeds.
        directory: for what is written.
        options: of pytest.
    """
    rng = random.Random(seed)
    found: dict[str, list[str]] = {}
    for _ in range(runs):
        order, hash_seed = rng.randrange(2**31), rng.randrange(2**31)
        came_of = run_tests(tests, directory, "--order", str(order), *options, hash_seed=hash_seed)
        for name, outcome in came_of.items():
            found.setdefault(name, []).append(outcome.said)
    return found


def flaky(found: dict[str, list[str]], runs: int) -> dict[str, list[str]]:
    """Return the tests that did not always come to the same, or failed, or were not always there."""
    return {
        name: sorted(set(said))
        for name, said in found.items()
        if len(set(said)) > 1 or len(said) < runs or not set(said) <= {"passed", "skipped"}
    }


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_a_test_always_comes_to_the_same(tmp_path: Path, goal: Goal, fault_seed: int) -> None:
    loops = os.cpu_count() or 1
    with busy(loops):
        found = outcomes(REPEATED, RUNS, fault_seed, tmp_path, *LEFT_OUT)
    changing = flaky(found, RUNS)
    for name, said in changing.items():
        print(f"{name}: {', '.join(said)}")
    goal(
        "G32 flaky",
        f"0 tests flaky in {RUNS} runs, each in another order and with another hash seed, beside {loops} busy loops",
        f"{len(changing)} of {len(found)}",
        not changing and len(found) > 1000,
    )


FLAKY = """
from pathlib import Path

seen = []


def test_a_first_one():
    seen.append(1)


def test_b_needs_another_before_it():
    assert seen


def test_c_depends_on_the_hash_seed():
    assert hash("text") % 2


def test_d_depends_on_what_an_earlier_run_has_left():
    left = Path(__file__).with_name("left")
    assert not left.exists()
    left.touch()


def test_e_holds():
    assert seen is not None
"""


@pytest.mark.soak
def test_tests_that_depend_on_order_hashes_or_an_earlier_run_are_found(tmp_path: Path) -> None:
    (tmp_path / "test_flaky.py").write_text(FLAKY)
    runs = 6
    found = flaky(outcomes([str(tmp_path / "test_flaky.py")], runs, 0, tmp_path), runs)
    assert {name.rpartition("::test_")[2][0] for name in found} == {"b", "c", "d"}
