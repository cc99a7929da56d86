"""YAML means what its writer means, and brings nothing else along."""

import importlib
from typing import Any

import pytest

from tensor_optix.cli.yaml_files import read_yaml
from tensor_optix.errors import InvalidArgumentError, MissingDependencyError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-90", -90),
        ("1.", 1.0),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("off", "off"),
        ("no", "no"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("2024-06-01", "2024-06-01"),
        (".inf", ".inf"),
        ("1e999", float("inf")),
        ("[64, 64]", [64, 64]),
        ("{b: {c: [1, x]}}", {"b": {"c": [1, "x"]}}),
        ("\n  - a.b:C:d=1\n  - x", ["a.b:C:d=1", "x"]),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert read_yaml(f"a: {text}".encode(), "run.yaml") == {"a": value}


def test_an_empty_file_says_nothing() -> None:
    assert read_yaml(b"", "run.yaml") == read_yaml(b"# a comment\n", "run.yaml") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [2", "line 2"),
        (b"a: 1\na: 2", "line 1 begins a table with a key that is there twice"),
        (b"? [1]\n: 2", "no text"),
        (b"a: &x 1\nb: *x", "line 1 has an anchor or an alias"),
        (b"a: 1\nb: *x", "line 2 has an anchor or an alias"),
        (b"a: !!python/object/apply:os.system [id]", "line 1 has the tag"),
        (b"a: !!str 1", "line 1 has the tag"),
        (b"a: 1\n---\nb: 2", "2 documents"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
        (b"a: " + b"[" * 5_000, "cannot be read as YAML"),
    ],
)
def test_what_it_cannot_be_is_refused_by_its_line(content: bytes, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        read_yaml(content, "run.yaml")
    assert "run.yaml" in str(refused.value)


def test_without_pyyaml_the_install_line_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tensor-optix-core\[yaml\]'"):
        read_yaml(b"a: 1", "run.yaml")
