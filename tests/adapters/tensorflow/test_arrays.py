"""Arrays and tensors of a minibatch as the program takes them."""

from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters.tensorflow._arrays import as_tensor
from tensor_optix.adapters.tensorflow._keras import tf


@pytest.mark.parametrize(
    ("name", "array", "of_array", "of_tensor"),
    [
        ("actions", np.arange(3), "int32", "int64"),
        ("actions", np.arange(3, dtype=np.uint8), "int32", "int64"),
        ("actions", np.arange(3, dtype=np.float32), "float32", "float32"),
        ("observations", np.arange(3, dtype=np.float64), "float32", "float32"),
        ("observations", np.arange(3, dtype=np.int64), "float32", "float32"),
        ("observations", np.arange(3, dtype=np.uint8), "uint8", "uint8"),
        ("terminated", np.array([True, False]), "bool", "bool"),
        ("next_action_masks", np.array([True, False]), "bool", "bool"),
    ],
)
def test_indices_masks_bytes_and_numbers(name: str, array: Any, of_array: str, of_tensor: str) -> None:
    for given, kind in ((array, of_array), (tf.constant(array), of_tensor)):
        found = as_tensor(name, given, tf.float32)
        assert found.dtype.name == kind
        np.testing.assert_array_equal(found.numpy(), array)
