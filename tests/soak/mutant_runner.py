"""Runs unit tests against mutants: in a fork for each, as one process has imported what all of them need.

    python -m tests.soak.mutant_runner

reads a line of JSON for each mutant (its module and number, the tests, the seconds they may take) and writes one word:
"killed" by a failing test, "hung" until the seconds had passed, or "survived".
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, TracebackType

from tests.soak.code_mutants import Mutant, compiled
from tests.soak.measured_code import ROOT

KILLED, HUNG, SURVIVED = "killed", "hung", "survived"
NEEDED = ("numpy", "gymnasium.vector", "hypothesis", "msgspec", "safetensors.numpy", "filelock", "tenacity", "pytest")
OPTIONS = (
    *("-x", "-q", "-p", "no:cacheprovider", "-n", "0", "--hypothesis-seed", "0"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of what all have imported
)
_PASSED, _FAILED, _NOT_FOUND = 0, (1, 2), 4


class MutantRunner:
    """A process that runs tests against one mutant after another; to be used in a `with` block."""

    def __enter__(self) -> "MutantRunner":
        self._storage = tempfile.TemporaryDirectory()
        environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": self._storage.name, "TMPDIR": self._storage.name}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.mutant_runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()
        self._storage.cleanup()

    def run(self, mutant: Mutant | None, tests: Sequence[str], seconds: float) -> str:
        """Return what has become of a mutant; None is the code as it is, which survives."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        which = None if mutant is None else [mutant.module, mutant.number]
        self._process.stdin.write(json.dumps({"mutant": which, "tests": list(tests), "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        assert said in (KILLED, HUNG, SURVIVED), said or "the runner has ended"
        return said


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compiled(self._mutant, Path(self.path).read_text(), self.path)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the mutant where its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.module.removesuffix(".py").replace("/", ".")

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        where = str(ROOT / self._mutant.module)
        return importlib.util.spec_from_file_location(fullname, where, loader=_Loader(fullname, where, self._mutant))


def _test(mutant: Mutant | None, tests: list[str]) -> int:
    """Run tests in this process, and return pytest's exit code."""
    import pytest

    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    return int(pytest.main([*OPTIONS, *tests]))


def _fork(mutant: Mutant | None, tests: list[str], seconds: float) -> str:
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            for stream in (1, 2):
                os.dup2(told.fileno(), stream)
            code = 3
            try:
                code = _test(mutant, tests)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = _ended(child, seconds)
        if status is None:
            return HUNG
        code = os.waitstatus_to_exitcode(status)
        if code == _PASSED:
            return SURVIVED
        if code in _FAILED or code < 0:
            return KILLED
        if code == _NOT_FOUND and any("[" in name for name in tests):
            # The cases of a test depend on the module: all that there are by now.
            return _fork(mutant, sorted({name.partition("[")[0] for name in tests}), seconds)
        told.seek(0)
        raise RuntimeError(f"pytest ended with {code} for {mutant}: {io.TextIOWrapper(told).read()[-2000:]}")


def _ended(child: int, seconds: float) -> int | None:
    """Wait for a child and return its status, None where it had to be ended; nothing of it is left."""
    deadline, found = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not found:
        os.waitpid(child, 0)
        return None
    return status


def main() -> None:
    for name in NEEDED:
        importlib.import_module(name)
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what tests print is not what is said here
    for line in sys.stdin:
        asked = json.loads(line)
        mutant = Mutant(*asked["mutant"]) if asked["mutant"] else None
        print(_fork(mutant, asked["tests"], asked["seconds"]), file=said, flush=True)


if __name__ == "__main__":
    main()
