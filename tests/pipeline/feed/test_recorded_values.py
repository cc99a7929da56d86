"""Spaces in a session: what was written is read back, and nothing else is."""

from typing import Any

import msgspec
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.errors import FeedFatalError
from tensor_optix.pipeline.feed.recorded_values import space_from_json, space_to_json

SPACES = [
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([[3, 2], [2, 5]], start=[[1, 0], [0, -3]]),
    spaces.MultiBinary([2, 3]),
    spaces.MultiBinary(4),
    spaces.Tuple((spaces.Discrete(3), spaces.Box(-np.inf, np.array([1.0, 2.0]), (2,), np.float64))),
    spaces.Dict({"z": spaces.Box(0, 255, (2, 2), np.uint8), "a": spaces.Dict({"deep": spaces.MultiBinary(2)})}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_structured_space_is_read_back(space: spaces.Space[Any]) -> None:
    found = space_from_json(msgspec.json.decode(msgspec.json.encode(space_to_json(space))))
    assert found == space


@pytest.mark.parametrize(
    "space", [None, spaces.Box(-1, 1, (2,)), spaces.Text(3), spaces.Dict(a=spaces.Text(3))], ids=str
)
def test_others_are_not_written(space: Any) -> None:
    assert space_to_json(space) is None


@pytest.mark.parametrize(
    "data",
    [{}, {"graph": 3}, {"discrete": "x"}, {"discrete": [0, 0]}, {"box": [{}, {}]}, {"a": 1, "b": 2}, {"dict": 3}],
)
def test_anything_else_is_refused(data: Any) -> None:
    with pytest.raises(FeedFatalError, match="names no observation space"):
        space_from_json(data)
