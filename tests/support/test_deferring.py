"""Modules that are imported, and executed later."""

import importlib
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from tensor_optix.support.deferring import deferred_imports

NAMES = ("waiting", "waiting.inner", "at_once")


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A package `waiting` with a module `inner`, and a module `at_once` that imports the package."""
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waiting" / "__init__.py").write_text("import builtins\nvalue = 7\n__all__ = ['value']\n")
    (tmp_path / "waiting" / "inner.py").write_text("from waiting import value\nother = value + 1\n")
    (tmp_path / "at_once.py").write_text("import waiting\nfrom waiting import value as seen\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def imported(name: str = "waiting") -> ModuleType:
    with deferred_imports(lambda module: module == "waiting"):
        return importlib.import_module(name)


def has_run(module: ModuleType) -> bool:
    return "value" in vars(module)


def test_a_module_is_executed_when_its_first_name_is_asked_for() -> None:
    module = imported()
    assert not has_run(module)
    assert importlib.import_module("waiting") is module
    assert not has_run(module)
    assert module.value == 7
    assert type(module) is ModuleType
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing


def test_what_takes_a_name_from_it_executes_it() -> None:
    assert imported("at_once").seen == 7


def test_a_module_within_is_imported_after_it() -> None:
    module = imported()
    assert importlib.import_module("waiting.inner").other == 8
    assert has_run(module)
    assert module.inner.other == 8


def test_another_thread_waits_until_all_of_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "waiting" / "__init__.py").write_text("import time\nearly = 1\ntime.sleep(0.2)\nvalue = 7\n")
    module = imported()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda name: getattr(module, name), ["value", "value"])) == [7, 7]


def test_what_looks_through_all_modules_executes_none() -> None:
    module = imported()
    assert getattr(module, "__warningregistry__", None) is None
    assert module.__file__ is not None
    assert not has_run(module)
    assert module.__all__ == ["value"]


def test_an_error_of_the_module_is_raised_where_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "waiting" / "__init__.py").write_text("raise LookupError('broken')\n")
    module = imported()
    with pytest.raises(LookupError, match="broken"):
        _ = module.value
    (tmp_path / "waiting" / "__init__.py").write_text("value = 'mended, and longer'\n")
    importlib.invalidate_caches()
    assert module.value == "mended, and longer"


def test_others_and_what_is_imported_later_do_not_wait(tmp_path: Path) -> None:
    (tmp_path / "at_once.py").write_text("value = 1\n")
    before = list(sys.meta_path)
    assert has_run(imported("at_once"))
    assert sys.meta_path == before
    assert has_run(importlib.import_module("waiting"))
    with pytest.raises(ModuleNotFoundError), deferred_imports(lambda name: True):
        importlib.import_module("waiting.missing")
