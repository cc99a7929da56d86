"""Plain JSON values: what is written of numbers, containers and all else."""

import json
import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import BadDataError
from tensor_optix.support.plain import jsonable, numeric_items


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int32(7), 7),
        (np.bool_(True), True),
        (np.float64("inf"), None),
        (math.nan, None),
        (3, 3),
        ("text", "text"),
        (None, None),
        (False, False),
    ],
)
def test_jsonable_gives_plain_json_scalars(value: Any, plain: Any) -> None:
    assert jsonable(value) == plain
    assert type(jsonable(value)) is type(plain)


def test_numeric_items_are_real_numbers_and_a_bool_is_none() -> None:
    mapping = {
        "int": 1,
        "float": 0.5,
        "np_float": np.float32(0.25),
        "np_int": np.int64(4),
        "nan": math.nan,
        "bool": True,
        "np_bool": np.bool_(True),
        "text": "1.0",
        "none": None,
        "list": [1.0],
        "array": np.ones(2),
        "complex": 1j,
    }
    found = dict(numeric_items(mapping))
    assert math.isnan(found.pop("nan"))
    assert found == {"int": 1.0, "float": 0.5, "np_float": 0.25, "np_int": 4.0}
    assert {type(value) for value in found.values()} == {float}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2.0, math.inf)), [1, [2.0, None]]),
        (np.array([[1.0, math.nan], [3.0, 4.0]]), [[1.0, None], [3.0, 4.0]]),
        ({"a": np.arange(2), "b": {"c": (np.float32(0.5),)}}, {"a": [0, 1], "b": {"c": [0.5]}}),
        ({1: "one"}, {"1": "one"}),
        ([], []),
        (np.zeros((0, 3)), []),
    ],
)
def test_containers_of_any_depth_become_lists_and_objects(value: Any, plain: Any) -> None:
    assert jsonable(value) == plain
    assert json.loads(json.dumps(jsonable(value), allow_nan=False)) == plain


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j, [{"deep": object()}]])
def test_what_json_has_no_word_for_is_named(value: Any) -> None:
    with pytest.raises(BadDataError, match=r"of type \w+ cannot be saved as JSON; use numbers, text or lists"):
        jsonable(value)
