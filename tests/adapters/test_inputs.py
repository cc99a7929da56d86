"""Structured observations taken apart: as Gymnasium flattens them, so they come back."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.adapters._inputs import Part, n_required, parts_of, refuse_inputs, taken_apart
from tensor_optix.errors import ContractError, SpaceError

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
    flat = np.stack([spaces.flatten(space, observation) for observation in observations])
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
    ("call", "n"),
    [
        (lambda x: x, 1),
        (lambda x, y: x, 2),
        (lambda x, y=None: x, 1),
        (lambda *inputs, **more: inputs, 0),
        (lambda inputs, training, mask: inputs, 1),
        (print, 0),
    ],
)
def test_required_arguments_are_counted(call: Any, n: int) -> None:
    assert n_required(call) == n


def test_several_inputs_are_refused_with_the_wrapper_that_helps() -> None:
    with pytest.raises(ContractError, match=r"actor takes 3 inputs.*Wrap it: Wrapper\(env.observation_space, model\)"):
        refuse_inputs("actor", 3, "Wrapper")
