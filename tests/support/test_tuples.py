"""Tuples survive JSON, and what would come back changed is refused."""

import enum
import json
from typing import Any, NamedTuple

import numpy as np
import pytest

from tensor_optix.errors import BadDataError
from tensor_optix.support.tuples import tuples_as_json, tuples_from_json


class Word(enum.StrEnum):
    ONE = "one"


class Size(NamedTuple):
    width: int


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.5, "x", [1, [2]], (), (1, (2, [3])), {"shape": (64, 48), "on": False, "more": [{"a": (1,)}]}, {}],
)
def test_a_value_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    back = tuples_from_json(json.loads(json.dumps(tuples_as_json(value))))
    assert repr(back) == repr(value)


def test_a_number_of_numpy_comes_back_as_the_number_that_it_is() -> None:
    assert tuples_as_json({"g": np.float64(9.5)}) == {"g": 9.5}


@pytest.mark.parametrize(
    "value",
    [
        {1: 2},
        {"a": {1}},
        b"x",
        np.zeros(2),
        [np.int64(1)],
        Word.ONE,
        Size(3),
        float("nan"),
        {"__tuple__": [1]},
        object(),
    ],
)
def test_what_would_come_back_as_something_else_is_refused(value: Any) -> None:
    with pytest.raises(BadDataError, match="would come back from JSON as something else"):
        tuples_as_json(value)
