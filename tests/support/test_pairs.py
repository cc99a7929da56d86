"""`KEY=VALUE`: values are JSON where they can be."""

from typing import Any

import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.pairs import arguments_of, split_pair, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("rgb_array", "rgb_array"),
        ("", ""),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_a_value_is_what_it_says_as_json_or_text(text: str, value: Any) -> None:
    assert value_of(text) == value


def test_a_pair_is_split_at_its_first_sign() -> None:
    assert split_pair("a.b=c=d", "--set") == ("a.b", "c=d")
    assert arguments_of(["size=3", "name=a=b"], "--env-kwargs") == {"size": 3, "name": "a=b"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(64, 48)", {"__tuple__": [64, 48]}),
        ("{'shape': (64, 48), 'on': True}", {"shape": {"__tuple__": [64, 48]}, "on": True}),
        ("['a', None]", ["a", None]),
        ("{1: 2}", "{1: 2}"),  # JSON would make text of the key
        ("{'a', 'b'}", "{'a', 'b'}"),
        ("(open('x'))", "(open('x'))"),
        ("(", "("),
        ("1_000", "1_000"),
        ('"(1, 2)"', "(1, 2)"),
    ],
)
def test_an_argument_may_be_a_literal_of_python_which_has_tuples(text: str, value: Any) -> None:
    assert arguments_of([f"a={text}"], "--env-kwargs") == {"a": value}


@pytest.mark.parametrize("pair", ["a", "=1", ""])
def test_what_is_no_pair_is_refused_by_its_flag(pair: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"--env-kwargs takes KEY=VALUE, but got '{pair}'"):
        arguments_of([pair], "--env-kwargs")
    with pytest.raises(InvalidArgumentError, match=f"--set takes KEY=VALUE, but got '{pair}'"):
        split_pair(pair, "--set")


def test_a_name_of_an_argument_is_one_that_python_takes() -> None:
    with pytest.raises(InvalidArgumentError, match=r"--env-kwargs takes KEY=VALUE, but got 'a.b=1'"):
        arguments_of(["a.b=1"], "--env-kwargs")
