import numpy as np
import pytest

from tensor_optix.adapters.tensorflow._keras import tf
from tensor_optix.adapters.tensorflow._padding import padded, power_of_two


@pytest.mark.parametrize(("n", "power"), [(1, 1), (2, 2), (3, 4), (1024, 1024), (1025, 2048)])
def test_powers(n: int, power: int) -> None:
    assert power_of_two(n) == power


def test_zeros_follow() -> None:
    array = np.ones((2, 3), np.uint8)
    assert padded(array, 2) is array
    longer = padded(array, 4)
    assert longer.dtype == np.uint8
    assert longer.tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_zeros_follow_a_tensor(dtype: str) -> None:
    tensor = tf.ones((2, 3), dtype)
    assert padded(tensor, 2) is tensor
    longer = padded(tensor, 4)
    assert longer.dtype == tensor.dtype
    assert longer.numpy().tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
