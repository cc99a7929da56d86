"""A dataclass with settings tells its flags, its types and the schema of its file."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import pytest

from tensor_optix._settings import Setting, file_schema, settings_of
from tensor_optix.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class Toy:
    size: Annotated[int, msgspec.Meta(ge=1), Setting("how large it is", word="auto")]
    names: Annotated[list[str], Setting("what it is called", ("--name", "--called"), is_in_every_file=False)] = field(
        default_factory=list
    )
    share: Annotated[int | float | None, Setting("how much", train=0.5)] = None
    is_old: Annotated[bool, Setting("whether it is", train=None, otherwise="measured")] = True
    kind: Annotated[str, Setting("which", choices=("a", "b"))] = "a"
    table: Annotated[dict[str, Any], Setting("of what")] = field(default_factory=dict)


def test_types_defaults_flags_and_further_names_come_from_the_fields() -> None:
    found = settings_of(Toy)
    assert list(found) == ["size", "names", "share", "is_old", "kind", "table"]
    assert [one.kind for one in found.values()] == [int, list[str], float, bool, str, dict]
    assert [one.default for one in found.values()] == [None, [], 0.5, None, "a", {}]
    assert (found["is_old"].flags, found["names"].flags) == (("--is-old",), ("--name", "--called"))
    assert (found["is_old"].aliases, found["names"].aliases) == ((), ("name", "called"))


@pytest.mark.parametrize(
    ("name", "value"), [("size", 3), ("size", "auto"), ("share", None), ("share", 2), ("kind", "b"), ("names", [])]
)
def test_a_value_of_the_type_is_returned(name: str, value: Any) -> None:
    assert settings_of(Toy)[name].checked(value, "toy.yaml") == value


def test_a_whole_number_may_be_written_with_an_exponent() -> None:
    found = settings_of(Toy)["size"].checked(1e6, "toy.yaml")
    assert (found, type(found)) == (1_000_000, int)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", 0, r"toy.yaml: size cannot be 0: Expected `int` >= 1. It means: how large it is."),
        ("size", 1.5, "Expected `int`, got `float`"),
        ("size", float("inf"), "Expected `int`, got `float`"),
        ("size", "3", "Expected `int`, got `str`"),
        ("size", None, "got `null`"),
        ("is_old", 1, "Expected `bool`, got `int`"),
        ("kind", "c", "Expected one of a, b"),
        ("kind", [], "Expected one of a, b"),
        ("names", ["a", 1], "Expected `str`"),
    ],
)
def test_any_other_is_refused_by_name_rule_and_value(name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        settings_of(Toy)[name].checked(value, "toy.yaml")


def test_the_file_holds_each_setting_and_lacks_only_those_that_came_later() -> None:
    schema = file_schema(Toy, format=int)
    whole = {"format": 1, "size": 2, "names": ["x"], "share": None, "is_old": False, "kind": "z", "table": {}}
    assert msgspec.convert(whole, schema).names == ["x"]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(whole | {"size": "auto"}, schema)  # a run has the value
    assert msgspec.convert({name: one for name, one in whole.items() if name != "names"}, schema).names == []
    for lacking in ("format", "size", "share"):
        with pytest.raises(msgspec.ValidationError, match=lacking):
            msgspec.convert({name: one for name, one in whole.items() if name != lacking}, schema)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(whole | {"more": 1}, schema)
