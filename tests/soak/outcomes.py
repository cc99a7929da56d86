"""A plugin of pytest that writes what became of each test, and runs them in another order where it is told to.

pytest -p tests.soak.outcomes --outcomes FILE --order SEED ...
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.soak.measured_code import ROOT


@dataclass(frozen=True)
class Outcome:
    """What became of a test: the outcome of its worst phase, and the seconds of all of them."""

    said: str
    seconds: float


def run_tests(tests: Sequence[str], directory: Path, *options: str, hash_seed: int = 0) -> dict[str, Outcome]:
    """Run tests in a process of their own and return what became of each.

    Args:
        tests: files, folders and single tests.
        directory: for what is written.
        options: of pytest.
        hash_seed: of Python, which decides the order of sets.
    """
    written = directory / "outcomes.json"
    written.unlink(missing_ok=True)
    temporary = directory / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(hash_seed),
        "TMPDIR": str(temporary),
        "PYTEST_DEBUG_TEMPROOT": str(temporary),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(directory / "hypothesis"),
    }
    plain = ("-q", "-p", "no:cacheprovider", "-p", "tests.soak.outcomes", "--outcomes", str(written))
    command = [sys.executable, "-m", "pytest", *plain, *options, *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)  # noqa: S603 - our own
    assert written.exists(), done.stdout[-4000:] + done.stderr[-4000:]
    found = {name: Outcome(*value) for name, value in json.loads(written.read_text()).items()}
    assert found, done.stdout[-4000:] + done.stderr[-4000:]
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", help="where to write what became of each test")
    parser.addoption("--order", type=int, help="seed of the order of the files, and of the tests in each")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Writer(Path(config.getoption("--outcomes"))))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--order")
    if seed is None:
        return
    order = random.Random(seed)
    files = {item.path: order.random() for item in sorted(items, key=lambda item: item.nodeid)}
    within = {item.nodeid: order.random() for item in sorted(items, key=lambda item: item.nodeid)}
    # File by file, or what a file sets up once would be set up for each test.
    items.sort(key=lambda item: (files[item.path], within[item.nodeid]))


class _Writer:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, tuple[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said, seconds = self._found.get(report.nodeid, ("passed", 0.0))
        if report.outcome != "passed":
            said = f"{report.outcome} in {report.when}" if report.failed else report.outcome
        self._found[report.nodeid] = said, seconds + report.duration

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps(self._found))
