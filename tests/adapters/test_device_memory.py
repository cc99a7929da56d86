"""Tables on a device: what is written is taken, in each type that windows bring, in both frameworks alike."""

from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters._device_memory import held
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tests.fakes.device_memory import memory_of

TYPES = ("bool", "uint8", "int8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64")
RNG = np.random.default_rng(0)
both = pytest.mark.parametrize("framework", ["torch", "tf"])


def filled(framework: str, rows: np.ndarray) -> Any:
    memory = memory_of(framework)
    assert memory.reserve({"table": (rows.shape, rows.dtype)})
    memory.write("table", 0, rows)
    return memory


def taken(memory: Any, rows: np.ndarray) -> Any:
    return memory.take(["table"], rows)["table"]


@both
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 5)])
def test_what_is_written_is_taken(framework: str, name: str, shape: tuple[int, ...]) -> None:
    rows = RNG.integers(0, 2 if name == "bool" else 100, (12, *shape)).astype(name)
    memory, numbers = filled(framework, rows), RNG.integers(12, size=(3, 4))
    found = taken(memory, numbers).numpy()
    assert found.dtype == held(rows.dtype)
    np.testing.assert_array_equal(found, rows[numbers])
    memory.write("table", 5, rows[:3])
    np.testing.assert_array_equal(taken(memory, np.arange(4, 9)).numpy(), rows[[4, 0, 1, 2, 8]])


@both
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", [(), (2, 5)])
def test_rows_of_the_host_take_the_place_of_some_and_the_table_stays(
    framework: str, name: str, shape: tuple[int, ...]
) -> None:
    rows, others = (RNG.integers(0, 2 if name == "bool" else 100, (12, *shape)).astype(name) for _ in range(2))
    memory = filled(framework, rows)
    expected = rows.copy()
    expected[[1, 7, 10]] = others[:3]
    found = memory.replace(taken(memory, np.arange(12).reshape(3, 4)), np.array([1, 7, 10]), others[:3])
    np.testing.assert_array_equal(found.numpy(), expected.reshape(3, 4, *shape))
    np.testing.assert_array_equal(taken(memory, np.arange(12)).numpy(), rows)


@both
@pytest.mark.parametrize("name", ["uint8", "int32", "float16", "float32", "float64"])
def test_scaled_to_the_last_bit_as_numpy_scales(framework: str, name: str) -> None:
    rows = (RNG.normal(100, 30, (500, 3))).astype(name)
    observations, rewards = ObsNormalizer(3, clip=1.5), RewardNormalizer()
    observations.update(rows)
    rewards.update(rows[:, :1].T, np.zeros((1, 500), bool))
    memory, numbers = filled(framework, rows), np.arange(500)
    for normalizer in (observations, rewards):
        found = memory.scale(taken(memory, numbers), normalizer.scaling).numpy()
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, normalizer.normalize(rows))


def test_integers_are_held_as_both_frameworks_gather_them() -> None:
    assert {name: held(np.dtype(name)).name for name in TYPES} == {
        **{name: name for name in ("bool", "uint8", "float16", "float32", "float64")},
        **dict.fromkeys(("int8", "int16", "uint16", "int32", "int64"), "int64"),
    }
