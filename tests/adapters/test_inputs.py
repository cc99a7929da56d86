"""Structured observations taken apart: as Gymnasium flattens them, so they come back, as a model takes them."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.adapters._inputs import (
    Members,
    Part,
    parts_of,
    required,
    taken_apart,
    takes_members,
    wire_models,
)
from tensor_optix.errors import SpaceError

SPACES: list[spaces.Space[Any]] = [
    spaces.Dict({"b": spaces.Box(-1, 1, (2, 3)), "a": spaces.Discrete(4)}),
    spaces.Dict(b=spaces.Box(-1, 1, ()), a=spaces.MultiBinary((2, 2))),
    spaces.Tuple([spaces.MultiDiscrete([2, 3]), spaces.Dict({"x": spaces.Box(0, 1, (2,)), "y": spaces.Discrete(2)})]),
]


def plain(space: Any, observation: Any) -> Any:
    """An observation with its discrete values one-hot."""
    if isinstance(space, spaces.Dict):
        return {name: plain(member, observation[name]) for name, member in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(plain(member, part) for member, part in zip(space.spaces, observation, strict=True))
    is_choice = isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
    return spaces.flatten(space, observation) if is_choice else np.asarray(observation)


def leaves(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, dict):
        return [leaf for name in sorted(tree) for leaf in leaves(tree[name])]
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, tuple) else [tree]


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_the_parts_are_those_that_were_flattened(space: Any) -> None:
    parts, size = parts_of(space)
    space.seed(0)
    observations = [space.sample() for _ in range(5)]
    flat = np.stack([np.asarray(spaces.flatten(space, observation)) for observation in observations])
    assert flat.shape == (5, size)
    found = taken_apart(flat, parts, lambda x, shape: x.reshape(len(x), *shape))
    for i, observation in enumerate(observations):
        expected = plain(space, observation)
        for ours, theirs in zip(leaves(found), leaves(expected), strict=True):
            np.testing.assert_array_equal(ours[i], theirs)


def test_a_space_without_members_is_refused() -> None:
    with pytest.raises(SpaceError, match="Only a Dict or Tuple space has parts"):
        parts_of(spaces.Box(-1, 1, (2,)))


def test_a_part_knows_where_it_lies() -> None:
    parts, _ = parts_of(spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2, 2))]))
    assert parts == (Part(0, 3, (3,)), Part(3, 7, (2, 2)))


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda x: x, ["x"]),
        (lambda x, y: x, ["x", "y"]),
        (lambda x, y=None: x, ["x"]),
        (lambda *inputs, **more: inputs, []),
        (lambda inputs, training, mask: inputs, ["inputs"]),
        (print, []),
    ],
)
def test_the_inputs_that_a_call_must_be_given_are_named(call: Any, names: list[str]) -> None:
    assert required(call) == names


def unpacked(x: Any) -> Any:
    first, second = x
    return first + second


@pytest.mark.parametrize(
    ("call", "asks"),
    [
        (lambda x: x["speed"], True),
        (lambda x: [*x.values()], True),
        (lambda x: {**x}, True),
        (lambda x: x.get("a", x), True),
        (lambda x: "a" in x, True),
        (unpacked, True),
        (lambda x, training: x["a"] if not training else x, True),
        (lambda x: x, False),
        (lambda x: x[:, 0], False),
        (lambda x: x[0], False),
        (lambda x: x.reshape(-1), False),
        (lambda x: x @ x, False),
        (np.asarray, False),
    ],
)
def test_a_model_shows_whether_it_asks_for_members(call: Any, asks: bool) -> None:
    assert takes_members(call) is asks


def test_other_inputs_follow_the_first() -> None:
    assert takes_members(lambda x, action: x["speed"] + action, 1)
    assert not takes_members(lambda x, action: x + action["speed"], 1)


SPACE = spaces.Dict(image=spaces.Box(0, 1, (2, 2)), side=spaces.Discrete(3), speed=spaces.Box(-1, 1, (2,)))


def inputs_of(members: Members, others: Any = ()) -> list[Any]:
    assert members.parts is not None
    given = taken_apart(np.arange(9), members.parts, lambda x, shape: x.reshape(shape))
    return [np.ravel(one).tolist() for one in members.inputs(given, others)]


def test_each_input_gets_the_member_of_its_name_and_what_is_left_over_is_another() -> None:
    members = Members(["speed", "image", "action"], n_others=1)
    members.wire(SPACE)
    assert inputs_of(members, [[9]]) == [[7, 8], [0, 1, 2, 3], [9]]


def test_names_that_are_no_members_are_told_by_their_shapes() -> None:
    members = Members(["input_1", "input_2", "input_3"], shapes=[(2,), (3,), (2, 2)])
    members.wire(SPACE)
    assert inputs_of(members) == [[7, 8], [4, 5, 6], [0, 1, 2, 3]]


def test_a_tuple_is_given_in_its_order() -> None:
    members = Members(["x", "y"])
    members.wire(spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (7,))]))
    assert inputs_of(members) == [[0, 1], [2, 3, 4, 5, 6, 7, 8]]


TWINS = spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Box(-1, 1, (2,)))


@pytest.mark.parametrize(
    ("names", "space", "said"),
    [
        (["x", "y"], SPACE, "takes x, y, but the members.*are image, side, speed. Name its inputs"),
        (["image", "velocity"], SPACE, "takes image, velocity"),
        (["x", "y"], TWINS, "takes x, y.*are a, b"),
        (["x", "y"], spaces.Tuple([spaces.Discrete(2)]), "takes x, y.*are 1.*one tuple"),
        (["x", "y"], spaces.Box(-1, 1, (2,)), r"takes several inputs \(x, y\).*but the observation space is Box"),
    ],
)
def test_inputs_that_no_member_is_meant_for_are_refused(names: list[str], space: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        Members(names, shapes=[(2,), (2,)]).wire(space)


def test_a_model_of_one_input_may_take_a_space_without_members_too() -> None:
    members = Members()
    members.wire(spaces.Box(-1, 1, (2,)))
    assert members.parts is None


def test_a_model_and_its_lagged_copy_are_wired_once() -> None:
    model = SimpleNamespace(members=Members())
    lagged = copy.deepcopy(model)
    wire_models([model, SimpleNamespace()], SPACE)
    wire_models([model], copy.deepcopy(SPACE))
    assert lagged.members.parts == parts_of(SPACE)[0]
    with pytest.raises(SpaceError, match=r"cannot be given those of .* Make another agent"):
        wire_models([model], TWINS)


def test_a_space_that_was_given_stays() -> None:
    members = Members(observation_space=SPACE)
    members.wire(TWINS)
    assert members.parts == parts_of(SPACE)[0]
    with pytest.raises(SpaceError, match="takes 'x', but the members"):
        inputs_of(Members(["image", "x"], observation_space=SPACE))
