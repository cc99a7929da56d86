"""`KEY=VALUE`: values are JSON where they can be."""

from typing import Any

import pytest

from tensor_optix.cli.pairs import env_kwargs_of, hyperparams_of, split_pair, value_of
from tensor_optix.errors import InvalidArgumentError


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
    assert env_kwargs_of(["size=3", "name=a=b"]) == {"size": 3, "name": "a=b"}
    params = hyperparams_of(["n_epochs=4", "learning_rate=1e-3", "gamma=1.0"])
    assert (params, type(params["n_epochs"]), type(params["gamma"])) == (
        {"n_epochs": 4, "learning_rate": 0.001, "gamma": 1.0},
        int,
        float,
    )


@pytest.mark.parametrize("pair", ["a", "=1", ""])
def test_what_is_no_pair_is_refused_by_its_flag(pair: str) -> None:
    for read, flag in ((env_kwargs_of, "--env-kwargs"), (lambda pairs: split_pair(pairs[0], "--set"), "--set")):
        with pytest.raises(InvalidArgumentError, match=f"{flag} takes KEY=VALUE, but got '{pair}'"):
            read([pair])


@pytest.mark.parametrize("pair", ["gamma", "gamma=", "gamma=high", "gamma=nan", "gamma=inf"])
def test_a_hyper_parameter_is_a_finite_number(pair: str) -> None:
    with pytest.raises(InvalidArgumentError, match="--hp takes KEY=VALUE with a finite number"):
        hyperparams_of([pair])
