"""Packages of the extras are imported where they are used, or missed with the line that installs them."""

import json
from pathlib import Path

import pytest

from tensor_optix.errors import MissingDependencyError
from tensor_optix.support.optional import require


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
