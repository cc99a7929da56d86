"""Flat actions have the form of their space, and each space has one flat form."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.pipeline.environment.flat_actions import FlatActions, has_flat_form

SPACES = [
    (spaces.Discrete(3, start=2), spaces.Discrete(3)),
    (spaces.Discrete(3, start=-1), spaces.Discrete(3)),
    (spaces.MultiDiscrete([2, 3], start=[1, -5]), spaces.MultiDiscrete([2, 3])),
    (spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])), spaces.MultiDiscrete([2, 3, 4, 5])),
    (spaces.MultiBinary((2, 3)), spaces.MultiBinary(6)),
    (spaces.Box(-2.0, 3.0, (2, 2), np.float32), spaces.Box(-2.0, 3.0, (4,), np.float32)),
    (spaces.Box(-2.0, 3.0, (), np.float64), spaces.Box(-2.0, 3.0, (1,), np.float64)),
]
PLAIN = [
    spaces.Discrete(3),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
    spaces.Box(-1.0, 1.0, (2,), np.float32),
    spaces.Text(3),
    spaces.Dict(a=spaces.Discrete(2)),
]


@pytest.mark.parametrize(("space", "flat"), SPACES, ids=str)
def test_a_space_has_a_flat_form_and_actions_go_there_and_back(space: Any, flat: Any) -> None:
    assert has_flat_form(space)
    assert not has_flat_form(flat)
    actions = FlatActions(space)
    space.seed(0)
    for action in [space.sample() for _ in range(10)]:
        there = actions.flat(action)
        assert np.shape(there) == flat.shape
        assert flat.contains(there)
        np.testing.assert_array_equal(actions.formed(there), action)


@pytest.mark.parametrize(("space", "flat"), SPACES, ids=str)
def test_so_do_many_at_once(space: Any, flat: Any) -> None:
    actions = FlatActions(space)
    space.seed(0)
    batch = np.stack([space.sample() for _ in range(5)])
    there = actions.flat(batch)
    assert there.shape == (5, *flat.shape)
    np.testing.assert_array_equal(actions.formed(there), batch)


@pytest.mark.parametrize("space", PLAIN, ids=str)
def test_what_is_flat_passes_as_it_is(space: Any) -> None:
    assert not has_flat_form(space)
    action = space.sample()
    assert FlatActions(space).formed(action) is action
    assert FlatActions(space).flat(action) is action


def test_without_a_space_actions_pass() -> None:
    assert FlatActions(None).formed(3) == 3
