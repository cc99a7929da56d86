"""Arrays and generators as JSON values, bit for bit."""

import json
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.arrays import decoded, encoded, generator_state, restore_generator

ARRAYS = {
    "floats with what is not finite": np.array([[1.5, np.nan], [np.inf, -0.0]]),
    "single precision": np.float32([0.1, 1e-45]),
    "whole numbers": np.arange(-3, 3, dtype=np.int16).reshape(2, 3),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 4)),
    "a number": np.array(7, np.uint8),
    "not contiguous": np.arange(12).reshape(3, 4)[:, ::2],
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_round_trips_through_strict_json_and_may_be_written_to(array: np.ndarray) -> None:
    again = decoded(json.loads(json.dumps(encoded(array), allow_nan=False)))
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert again.flags.writeable


@pytest.mark.parametrize("array", [np.array([None]), np.array(["a", None]), np.array([1j])])
def test_what_is_not_numbers_is_refused(array: np.ndarray) -> None:
    with pytest.raises(TypeError, match="cannot be saved, only booleans, integers, floats and text"):
        encoded(array)


GOOD = encoded(np.arange(3.0))


@pytest.mark.parametrize(
    "changed",
    [{"dtype": "|O"}, {"dtype": "x"}, {"shape": [4]}, {"shape": [-3]}, {"shape": "x"}, {"base64": "!"}, {"base64": 3}],
    ids=str,
)
def test_what_was_not_encoded_is_corrupt(changed: dict[str, Any]) -> None:
    with pytest.raises(CheckpointCorruptError, match="A saved array"):
        decoded({**GOOD, **changed})
    with pytest.raises(CheckpointCorruptError, match="needs dtype, shape and base64"):
        decoded({name: value for name, value in GOOD.items() if name not in changed})


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937])
def test_a_generator_goes_on_where_it_was(kind: Any) -> None:
    ours = np.random.Generator(kind(1))
    ours.random(5)
    state = json.loads(json.dumps(generator_state(ours)))
    other = np.random.Generator(kind(2))
    restore_generator(other, state)
    assert other.random(5).tolist() == ours.random(5).tolist()


@pytest.mark.parametrize(
    "state", [{}, {"bit_generator": "MT19937"}, {"bit_generator": "PCG64", "state": {"state": -1}}]
)
def test_a_state_of_another_kind_is_corrupt(state: dict[str, Any]) -> None:
    with pytest.raises(CheckpointCorruptError, match="does not fit"):
        restore_generator(np.random.default_rng(0), state)


def test_text_is_read_back_as_it_was() -> None:
    texts = np.array([["a", "longer"], ["", "b"]], object)
    read = decoded(json.loads(json.dumps(encoded(texts))))
    assert read.tolist() == texts.tolist()
    assert type(read[0, 0]) is str


@pytest.mark.parametrize("saved", [{"text": ["a"], "shape": [2]}, {"text": [1], "shape": [1]}, {"text": ["a"]}])
def test_text_that_was_not_saved_here_is_refused(saved: Any) -> None:
    with pytest.raises(CheckpointCorruptError, match="array of text"):
        decoded(saved)
