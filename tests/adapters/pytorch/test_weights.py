"""The weights of modules: names without wrappers, one array for one tensor, and what is constant."""

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters.pytorch._weights import arrays_of, constants_of, named_tensors

torch.set_num_threads(1)


def test_weights_are_named_by_model_and_path_without_wrappers() -> None:
    stack = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    names = named_tensors({"actor": nn.DataParallel(stack)})
    assert [*names] == [f"actor.{path}" for path in stack.state_dict()]


def test_a_tensor_of_several_names_is_one_array_and_a_copy() -> None:
    trunk = nn.Linear(2, 2)
    models = {"actor": nn.Sequential(trunk, nn.Linear(2, 2)), "critic": nn.Sequential(trunk, nn.Linear(2, 1))}
    arrays = arrays_of(named_tensors(models))
    assert arrays["actor.0.weight"] is arrays["critic.0.weight"]
    assert len({id(array) for array in arrays.values()}) == 6
    arrays["actor.0.weight"][:] = 7.0
    assert not (trunk.weight == 7.0).any()


def test_a_tensor_and_its_transpose_are_two() -> None:
    square = torch.arange(4.0).reshape(2, 2)
    arrays = arrays_of({"one": square, "turned": square.T, "part": square[:1]})
    assert [array.tolist() for array in arrays.values()] == [[[0, 1], [2, 3]], [[0, 2], [1, 3]], [[0, 1]]]
    assert all(array.flags.c_contiguous for array in arrays.values())


def test_weights_in_another_order_of_memory_are_the_same_array() -> None:
    plain = nn.Conv2d(3, 2, 4)
    turned = nn.Conv2d(3, 2, 4).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    turned.load_state_dict(plain.state_dict())
    ours, theirs = (arrays_of(named_tensors({"q": model})) for model in (plain, turned))
    assert all(np.array_equal(array, theirs[name]) and theirs[name].flags.c_contiguous for name, array in ours.items())


def test_buffers_and_frozen_weights_are_constants_and_statistics_are_not() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model.register_buffer("mask", torch.ones(2))
    model[0].bias.requires_grad_(False)
    assert constants_of(model) == {"0.bias", "mask"}
