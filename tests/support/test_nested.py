"""Nested values go through JSON and come back bit for bit."""

import json
import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.nested import packed, packed_or_none, unpacked

VALUES = [
    None,
    True,
    3,
    0.1,
    -math.inf,
    "text",
    [1, [2.5, None]],
    (1, ("a", [])),
    {"a": 1, 2: (0.5,), "float": {}},
    np.float32(0.1),
    np.arange(6, dtype=np.int16).reshape(2, 3),
    {"hidden": (np.zeros((2, 0)), [np.array([True])])},
]


def same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray | np.generic):
        return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert same(unpacked(json.loads(json.dumps(packed(value)))), value)


@pytest.mark.parametrize("value", [{1, 2}, [object()], np.array([{}]), type("List", (list,), {})([1])])
def test_what_is_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        packed(value)
    assert packed_or_none(value) is None


@pytest.mark.parametrize(
    "data", [[1], {"list": 1}, {"set": []}, {"array": {}}, {"list": [], "tuple": []}, {"float": "x"}]
)
def test_what_was_not_packed_is_corrupt(data: Any) -> None:
    with pytest.raises(CheckpointCorruptError):
        unpacked(data)
