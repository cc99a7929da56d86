"""Values of a session: what was written is read back, types and all."""

from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_optix.pipeline.feed.recorded_values import plain, revived, with_tuples

ENCODER = msgspec.json.Encoder(enc_hook=plain)


@pytest.mark.parametrize(
    "value",
    [
        3,
        0.5,
        True,
        {"a": 1, "b": {"c": (2, [3, 4])}},
        (),
        ({"x": np.int64(5)}, np.float32(0.1)),
        {"image": np.arange(6, dtype=np.uint8).reshape(2, 3), "none": np.zeros((0, 2))},
    ],
    ids=str,
)
def test_a_value_is_the_same_again(value: Any) -> None:
    again = revived(msgspec.json.decode(ENCODER.encode(with_tuples(value))))
    assert repr(again) == repr(value)


def test_objects_have_no_form() -> None:
    with pytest.raises(TypeError, match="no form in JSON"):
        ENCODER.encode(with_tuples({"thing": object()}))


def test_an_array_of_objects_is_refused_when_read() -> None:
    with pytest.raises(ValueError, match="array of objects"):
        revived({"__array__": ["|O", [1], [None]]})
