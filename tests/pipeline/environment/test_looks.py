"""A look tells of good observations what the check gives, and nothing of all others."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.pipeline.environment.looks import look_of
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.support.trees import leaves

BOX = spaces.Box(-1.0, 1.0, (2, 3), np.float32)
SPACES = [
    BOX,
    spaces.Box(0, 255, (4, 2), np.uint8),
    spaces.Box(-1.0, 1.0, (3,), np.float64),
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([2, 3, 4], start=[1, 0, -1]),
    spaces.MultiDiscrete([3] * 20),
    spaces.MultiBinary([2, 2]),
    spaces.Tuple((spaces.Discrete(3), spaces.Discrete(4, start=1), BOX)),
    spaces.Tuple((spaces.Discrete(3), spaces.Discrete(4, start=-1))),
    spaces.Dict(
        {
            "choice": spaces.Discrete(3),
            "image": spaces.Box(0, 9, (2, 2), np.uint8),
            "deep": spaces.Dict({"flags": spaces.MultiBinary(3), "numbers": spaces.Box(-1.0, 1.0, (2,), np.float64)}),
        }
    ),
]


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_look_gives_what_the_check_gives(space: spaces.Space[Any], is_flat: bool) -> None:
    form = ObservationForm(space, is_flat=is_flat)
    assert form.has_look
    space.seed(0)
    for _ in range(20):
        observation = space.sample()
        seen, checked = form.look()(observation), form.one(observation)
        for one, other in zip(leaves(seen), leaves(checked), strict=True):
            assert type(one) is type(other)
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("space", SPACES[:3], ids=str)
def test_what_it_returns_is_a_copy_where_that_is_asked_for(space: spaces.Space[Any]) -> None:
    observation = space.sample()
    assert not np.shares_memory(look_of(space, is_flattened=False)(observation), observation)
    assert np.shares_memory(look_of(space, is_flattened=False, copies=False)(observation), observation)


def bad_for(space: spaces.Space[Any]) -> list[Any]:
    """What an environment must not return, and what only a check can tell."""
    found: list[Any] = [None, "text", [0.0], np.zeros(99, np.float32), {}, (), 1.5, True]
    if isinstance(space, spaces.Box) and space.dtype.kind == "f":
        found += [np.full(space.shape, value, space.dtype) for value in (np.nan, np.inf)]
        found.append(np.array([np.inf, *[-np.inf] * (np.prod(space.shape) - 1)], space.dtype).reshape(space.shape))
    if isinstance(space, spaces.Discrete):
        found += [space.start - 1, space.start + space.n, np.array(space.start)]
    if isinstance(space, spaces.MultiDiscrete):
        found += [space.start - 1, space.start + space.nvec]
    if isinstance(space, spaces.Tuple):
        found += [(0,), (0, 9), (0, 0, np.full((2, 3), np.nan, np.float32)), (3, 1, np.zeros((2, 3), np.float32))]
    if isinstance(space, spaces.Dict):
        whole = space.sample()
        found += [whole | {"choice": 3}, {"choice": 0}, whole | {"deep": {**whole["deep"], "numbers": [0.0, 0.0]}}]
        found.append(whole | {"deep": {**whole["deep"], "numbers": np.full(2, np.nan)}})
    return found


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_of_all_others_it_tells_nothing(space: spaces.Space[Any], is_flat: bool) -> None:
    look = ObservationForm(space, is_flat=is_flat).look()
    for observation in bad_for(space):
        if isinstance(space, spaces.Discrete) and observation is True:
            continue  # a number like any other: 1
        assert look(observation) is None, observation


def test_float64_for_float32_is_taken_where_no_number_is_too_large() -> None:
    look = look_of(BOX, is_flattened=False)
    seen = look(np.full((2, 3), 0.5))
    assert seen.dtype == np.float32
    assert (seen == 0.5).all()
    assert look(np.full((2, 3), 1e39)) is None
    assert look(np.full((2, 3), np.nan)) is None


def test_of_a_space_of_the_users_own_it_tells_nothing() -> None:
    class Own(spaces.Space[Any]):
        pass

    for space in (Own(), None, spaces.Text(4), spaces.Tuple((spaces.Text(4),))):
        assert not ObservationForm(space).has_look
        assert look_of(space, is_flattened=False)("abcd") is None
        assert look_of(space, is_flattened=False)(("abcd",)) is None


@pytest.mark.parametrize("n", [3, 40])
def test_numbers_whose_squares_overflow_are_left_to_the_check_or_taken_without_a_warning(n: int) -> None:
    space = spaces.Box(-np.inf, np.inf, (n,), np.float32)
    observation = np.full(n, 3e38, np.float32)
    form = ObservationForm(space)
    seen = form.look()(observation)
    np.testing.assert_array_equal(form.one(observation) if seen is None else seen, observation)
