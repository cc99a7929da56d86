"""What counts as a mapping and as an array, of values that are to be checked."""

from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from tensor_optix.support.narrowing import is_array, is_mapping


@pytest.mark.parametrize("value", [{}, OrderedDict(a=1), MappingProxyType({"a": 1})])
def test_a_mapping_is_one_of_any_kind(value: Any) -> None:
    assert is_mapping(value)
    assert not is_array(value)


@pytest.mark.parametrize("value", [[], (), [1], ("a", 2)])
def test_an_array_is_what_json_writes_as_one(value: Any) -> None:
    assert is_array(value)
    assert not is_mapping(value)


@pytest.mark.parametrize("value", ["text", b"bytes", {1}, range(3), np.zeros(2), iter([1]), None, 1])
def test_text_sets_and_numpy_arrays_are_neither(value: Any) -> None:
    assert not is_array(value)
    assert not is_mapping(value)
