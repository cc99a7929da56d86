"""Spaces as JSON: what is written is the same space when it is read, and what is read is bounded."""

import json
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.pipeline.environment.space_json import space_from_json, space_to_json

SPACES = [
    spaces.Box(-1.0, 1.0, (3,), np.float32),
    spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    spaces.Box(np.array([0.0, -np.inf], np.float32), np.array([np.inf, 2.5], np.float32)),
    spaces.Box(0, 255, (8, 8, 3), np.uint8),
    spaces.Box(-5, 9, (), np.int64),
    spaces.Box(0, 1, (0,), np.float32),
    spaces.Discrete(4),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiDiscrete(np.array([[2, 5], [3, 4]])),
    spaces.MultiDiscrete([3, 3], start=[1, 1]),
    spaces.MultiBinary(5),
    spaces.MultiBinary((2, 3)),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Tuple([spaces.Box(0.0, 1.0), spaces.MultiBinary(1)])}),
    spaces.Dict(OrderedDict(z=spaces.Discrete(2), a=spaces.Discrete(3))),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_is_the_same_again(space: spaces.Space[Any]) -> None:
    read = space_from_json(json.loads(json.dumps(space_to_json(space), allow_nan=False)))
    assert read == space
    assert read.shape == space.shape
    assert read.dtype == space.dtype
    if isinstance(space, spaces.Dict) and isinstance(read, spaces.Dict):
        assert list(read.spaces) == list(space.spaces)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "FrozenLake-v1", "Blackjack-v1"])
def test_those_of_gymnasiums_environments_are(env_id: str) -> None:
    env = gym.make(env_id)
    for space in (env.observation_space, env.action_space):
        assert space_from_json(space_to_json(space)) == space
    env.close()


@pytest.mark.parametrize(
    "space",
    [
        None,
        "Discrete(3)",
        spaces.Text(5),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Dict(text=spaces.Text(5)),
        spaces.Tuple([spaces.Discrete(2), spaces.Graph(spaces.Discrete(2), None)]),
    ],
    ids=str,
)
def test_what_is_none_of_these_kinds_is_not_written(space: Any) -> None:
    assert space_to_json(space) is None


BOX = {"type": "Box", "shape": [2], "dtype": "float32", "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"type": "Text"},
        {**BOX, "shape": [1 << 30]},
        {**BOX, "shape": [-1]},
        {**BOX, "shape": [1] * 40},
        {**BOX, "shape": "2"},
        {**BOX, "dtype": "object"},
        {**BOX, "low": "low"},
        {**BOX, "low": [0.0, 0.0, 0.0]},
        {**BOX, "low": None},
        {**BOX, "dtype": "int8", "high": 1000},
        {"type": "Discrete", "n": 0, "start": 0},
        {"type": "Discrete", "n": 1 << 40, "start": 0},
        {"type": "MultiDiscrete", "shape": [2], "nvec": [2], "start": 0},
        {"type": "MultiBinary", "n": [1 << 30]},
        {"type": "MultiBinary", "n": 0},
        {"type": "Dict", "members": [["a"]]},
        {"type": "Dict", "members": [["a", {"type": "Text"}]]},
        {"type": "Tuple", "members": [BOX] * 5000},
        {"type": "Tuple", "members": "BOX"},
    ],
    ids=lambda data: str(data)[:60],
)
def test_what_is_no_space_is_damaged(data: Any) -> None:
    with pytest.raises(CheckpointCorruptError):
        space_from_json(data)


def test_depth_is_bounded() -> None:
    nested: dict[str, Any] = BOX
    for _ in range(50):
        nested = {"type": "Tuple", "members": [nested]}
    with pytest.raises(CheckpointCorruptError):
        space_from_json(nested)
