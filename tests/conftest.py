"""Shared by all tests: one thread per process, no waiting for the disk, and the table of the reliability goals.

A test that proves a goal calls the `goal` fixture, and the run ends with a table of what was measured. What a busy
machine may miss, seconds above all, goes through `timing`: the table shows it, and no test fails for it.
"""

import contextlib
import functools
import gc
import os
import shutil
import sys
import time
import typing
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

if sys.version_info < (3, 12):  # which looks for the members of a protocol once, not in each `isinstance`
    typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)  # type: ignore[attr-defined]

Goal = Callable[[str, str, str, bool], None]
"""`goal(row, goal, measured, holds)`: record a row of the table; fails the test where the goal is missed."""

_SOAK = Path(__file__).parent / "soak"
_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a private folder in it
_ENOUGH_MEMORY = 2 << 30
"""Free bytes from which the folders of tests are in memory: those that there are at a time have less than a tenth."""
_PROPERTY = "reliability-goal"
_TIMING = "reliability-timing"
_SLOWER = "slower on this machine"
_BEGAN = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_BEGAN] = time.monotonic()
    is_chosen = "TMPDIR" in os.environ or "PYTEST_DEBUG_TEMPROOT" in os.environ
    if not is_chosen and "not slow" in config.option.markexpr and _is_memory_for_files():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)
    # An example that takes long on a busy machine is no failure.
    hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.load_profile("busy")
    # With -m 'slow or soak' the full tier has the control of each "0 of N" in its own run, and a row for each goal.
    config.addinivalue_line("markers", "soak: part of the full tier, too, quick as it is: a control, or a whole row")


def _is_memory_for_files() -> bool:
    """Whether the folders of tests can be in memory, where a quarter of the time of a run that saves is spared.

    The slow tier measures what saving costs on a disk.
    """
    if not _MEMORY.is_dir() or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:  # tests run scripts of theirs
        return False
    return os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH_MEMORY


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    gc.disable()  # of what is imported and collected, next to nothing becomes garbage
    try:
        return (yield)
    finally:
        gc.enable()
        _keep_what_there_is()
        if "not slow" in session.config.option.markexpr and (tensorflow := sys.modules.get("tensorflow")):
            # Graphs that run a few times: to optimise one takes longer than it runs. In the slow tier it is done.
            tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path and len(sys.modules) > _kept["modules"] + 100:
        _keep_what_there_is()


_kept = {"modules": 0}


def _keep_what_there_is() -> None:
    """Leave tests and frameworks, millions of objects, out of each search for garbage, and out of what forks copy."""
    gc.collect()
    gc.freeze()
    _kept["modules"] = len(sys.modules)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-seed", type=int, default=0, help="seed of kill times and random fault states; printed by each test"
    )
    parser.addoption("--soak-minutes", type=float, default=10.0, help="how long the run with a fault every 30 s takes")


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_the_disk() -> Iterator[Callable[[int], None]]:
    """Let `os.fsync` do nothing, and yield the true one: only a power cut could show the difference.

    Waiting takes most of the time of a test whose run keeps its state in every window. Those of `tests/soak`, and those
    that are slow, get the true one back.
    """
    true = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield true


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Start a Ray cluster with four cores, once: it takes half a minute on a busy machine, and is shut down again."""
    from tensor_optix.executors import RayExecutor

    with RayExecutor(workers=4):
        yield


@pytest.fixture(autouse=True)
def waiting_for_the_disk(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, without_waiting_for_the_disk: Callable[[int], None]
) -> None:
    """Give a test of durability the true `os.fsync`."""
    if "slow" in request.keywords or request.path.is_relative_to(_SOAK):
        monkeypatch.setattr(os, "fsync", without_waiting_for_the_disk)


@pytest.fixture(scope="session")
def fault_seed(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--fault-seed")


@pytest.fixture
def goal(request: pytest.FixtureRequest, fault_seed: int) -> Goal:
    """Record one row of the goal table: its number, what is promised, what was measured, whether the promise holds."""

    def record(row: str, promised: str, measured: str, holds: bool) -> None:
        # A property of the report, so that it also arrives from the workers of a parallel run.
        request.node.user_properties.append((_PROPERTY, (row, promised, measured, holds)))
        assert holds, f"{row}: {promised}; measured: {measured} (--fault-seed {fault_seed})"

    return record


@pytest.fixture
def timing(request: pytest.FixtureRequest) -> Goal:
    """Record a row as `goal` does, whose figure depends on what else the machine does: missing it fails nothing.

    The test asserts besides what holds on any machine: a count, or a deadline that only a hang can miss.
    """

    def record(row: str, promised: str, measured: str, holds: bool) -> None:
        request.node.user_properties.append((_TIMING, (row, promised, measured, holds)))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missed = {_PROPERTY: "MISSED", _TIMING: _SLOWER}
    rows = [
        (*value[:3], "holds" if value[3] else missed[name])
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name in missed
    ]
    if not rows:
        return
    if _is_whole(config):
        rows.append(_minutes(config))
    rows.sort(key=lambda row: (int("".join(filter(str.isdigit, row[0].split()[0])) or 0), row))
    rows.insert(0, ("G-row", "goal", "measured", "verdict"))
    widths = [max(len(str(row[column])) for row in rows) for column in range(4)]
    terminalreporter.section(f"reliability goals (--fault-seed {config.getoption('--fault-seed')})")
    for row in rows:
        terminalreporter.write_line(" | ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)))


@pytest.fixture
def short_last_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """The untrained policy and the last candidates play next to nothing, but in the slow tier as much as ever."""
    from tests.fakes.shortened import last_tests_shortened  # slow, and not for all

    with _but_in_the_slow_tier(request, last_tests_shortened):
        yield


def _but_in_the_slow_tier(
    request: pytest.FixtureRequest, shortened: Callable[[], contextlib.AbstractContextManager[None]]
) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if request.keywords.keys() & {"slow", "ray"} else shortened()


def _is_whole(config: pytest.Config) -> bool:
    """Whether all tests of a tier run, and not some files."""
    return [Path(name).resolve() for name in config.args] == [Path(__file__).parent] and not config.option.keyword


def _minutes(config: pytest.Config) -> tuple[str, str, str, str]:
    is_full = "slow" in config.option.markexpr.replace("not slow", "")
    most, found = (15 if is_full else 4), (time.monotonic() - config.stash[_BEGAN]) / 60
    verdict = "holds" if found <= most else _SLOWER
    return f"G32 {'full' if is_full else 'quick'}", f"<= {most} min on 2 cores", f"{found:.1f} min", verdict


@pytest.fixture
def plain_graphs(request: pytest.FixtureRequest) -> Iterator[None]:
    """TensorFlow's agents that are not told whether to compile do not, but in the slow tier they do."""
    from tests.fakes.shortened import uncompiled  # slow, and not for all

    with _but_in_the_slow_tier(request, uncompiled):
        yield
