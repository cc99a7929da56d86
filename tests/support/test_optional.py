"""Packages of the extras are imported where they are used, or missed with the line that installs them."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from tensor_optix.errors import MissingDependencyError
from tensor_optix.support.optional import hidden, require


def test_a_module_that_is_there_is_returned() -> None:
    assert require("json", "Saving", "live") is json


def test_a_package_that_is_missing_is_named_with_what_needs_it_and_how_to_install_it() -> None:
    with pytest.raises(MissingDependencyError) as raised:
        require("no_such_package.part", "LivePipeline(record=...)", "live")
    assert str(raised.value) == (
        "LivePipeline(record=...) needs no_such_package, which is not installed. "
        "Install it with: pip install 'tensor-optix-core[live]'"
    )


def test_what_a_package_itself_misses_is_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as raised:
        require("half_installed", "x", "live")
    assert not isinstance(raised.value, MissingDependencyError)


def test_a_hidden_module_looks_as_if_it_were_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large_one.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with hidden("large_one"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("large_one")
    assert "large_one" not in sys.modules
    loaded = importlib.import_module("large_one")
    with hidden("large_one"):
        assert importlib.import_module("large_one") is loaded
    assert sys.modules.pop("large_one") is loaded
