"""A run of the unit tests of row G31, under `coverage`: what they run, line by line, and which test runs it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.outcomes import Outcome, run_tests

CONFIG = """
[run]
branch = True
source = tensor_optix
data_file = {data}
[json]
show_contexts = True
output = {output}
"""


@dataclass(frozen=True)
class Measured:
    """What tests have run.

    Args:
        files: what `coverage json` says of each file.
        outcomes: of the tests, by name.
    """

    files: dict[str, dict[str, Any]]
    outcomes: dict[str, Outcome]

    @property
    def failed(self) -> list[str]:
        """The tests that have failed."""
        return [name for name, outcome in self.outcomes.items() if outcome.said not in ("passed", "skipped")]

    def share(self, modules: Collection[str]) -> float:
        """Return the share of the modules' lines and branches that were run, of 100."""
        found = self._summed(modules)
        done, all_ = "covered_lines", "num_statements"
        return 100 * (found[done] + found["covered_branches"]) / (found[all_] + found["num_branches"])

    def share_of_branches(self, modules: Collection[str]) -> float:
        """Return the share of the modules' branches that were taken, of 100."""
        found = self._summed(modules)
        return 100 * found["covered_branches"] / found["num_branches"]

    def missing(self, modules: Collection[str]) -> list[str]:
        """Return what was not run: lines, and branches as (from, to)."""
        return [
            f"{module}: lines {self.files[module]['missing_lines']}, branches {self.files[module]['missing_branches']}"
            for module in modules
            if self.files[module]["missing_lines"] or self.files[module]["missing_branches"]
        ]

    def tests_of(self, module: str, line: int, seconds: float) -> list[str]:
        """Return the tests that run a line, the quickest first, as many as take so many seconds.

        A line that is run when the module is imported counts for all of its lines.
        """
        by_line = self.files[module]["contexts"]
        names = _tests_in(by_line.get(str(line), []))
        names = names or {name for contexts in by_line.values() for name in _tests_in(contexts)}
        found: list[str] = []
        for name in sorted(names, key=lambda name: (self.outcomes[name].seconds, name)):
            seconds -= self.outcomes[name].seconds
            if found and seconds < 0:
                break
            found.append(name)
        return found

    def _summed(self, modules: Collection[str]) -> dict[str, int]:
        names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
        return {name: sum(self.files[module]["summary"][name] for module in modules) for name in names}


def measure(tests: Sequence[str], directory: Path) -> Measured:
    """Run tests in a process of their own, and return what they have run."""
    config, output = directory / "coveragerc", directory / "coverage.json"
    config.write_text(CONFIG.format(output=output, data=directory / "coverage.data"))
    options = (
        f"--cov-config={config}",
        "--cov",
        "--cov-context=test",
        f"--cov-report=json:{output}",
        "--cov-fail-under=0",
    )
    outcomes = run_tests(tests, directory, *options)
    files = json.loads(output.read_text())["files"]
    return Measured({Path(name).as_posix(): found for name, found in files.items()}, outcomes)


def _tests_in(contexts: Collection[str]) -> set[str]:
    """Return the tests that `pytest-cov` names: "path::test|run"; a line that is run by an import has none."""
    return {context.rpartition("|")[0] for context in contexts if "|" in context}
