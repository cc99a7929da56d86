"""The factory's networks in PyTorch: how they are initialised, and what images become."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tensor_optix.adapters._architecture import Architecture
from tensor_optix.adapters.pytorch._networks import ImageInput, build

torch.set_num_threads(1)


def built(seed: int = 0, **changes: Any) -> nn.Sequential:
    values: dict[str, Any] = {
        "input_shape": (3,),
        "hidden": (16, 8),
        "outputs": 2,
        "activation": "tanh",
        "initial": "orthogonal",
    }
    return build(Architecture(**(values | changes)), torch.Generator().manual_seed(seed))


def linears(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def test_the_same_seed_gives_the_same_weights_whatever_the_process_has_drawn() -> None:
    before = torch.get_rng_state()
    first, torch_state = built(), torch.get_rng_state()
    torch.rand(7)
    second, other = built(), built(seed=1)
    assert torch.equal(before, torch_state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first[0].weight, other[0].weight)


def test_orthogonal_layers_have_their_gains_and_no_bias() -> None:
    first, second, head = linears(built(head_gain=0.01))
    for layer, gain in ((first, 2.0), (second, 2.0), (head, 0.0001)):
        gram = (
            layer.weight @ layer.weight.T if layer.out_features <= layer.in_features else layer.weight.T @ layer.weight
        )
        assert torch.allclose(gram, gain * torch.eye(len(gram)), atol=1e-5)
        assert not layer.bias.any()


def test_uniform_layers_are_within_one_by_the_root_of_their_inputs() -> None:
    for layer in linears(built(initial="uniform", hidden=(64,))):
        bound = 1.0 / math.sqrt(layer.in_features)
        for values in (layer.weight.detach(), layer.bias.detach()):
            assert float(values.abs().max()) <= bound
        assert float(layer.weight.detach().abs().max()) > 0.8 * bound


@pytest.mark.parametrize(("activation", "kind"), [("tanh", nn.Tanh), ("relu", nn.ReLU)])
def test_every_hidden_layer_is_activated_and_the_head_is_not(activation: str, kind: type[nn.Module]) -> None:
    network = built(activation=activation)
    assert [type(layer) for layer in network] == [nn.Linear, kind, nn.Linear, kind, nn.Linear]


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4)])
def test_what_is_no_vector_is_flattened(shape: tuple[int, ...]) -> None:
    assert built(input_shape=shape)(torch.zeros(4, *shape)).shape == (4, 2)


@pytest.mark.parametrize(("shape", "axis"), [((4, 36, 40), 0), ((36, 40, 3), 2)])
def test_images_of_bytes_become_numbers_with_the_channels_first(shape: tuple[int, ...], axis: int) -> None:
    images = torch.full((2, *shape), 255, dtype=torch.uint8)
    found = ImageInput(axis)(images)
    assert found.shape == (2, shape[axis], 36, 40)
    assert torch.equal(found, torch.ones_like(found))
    assert built(input_shape=shape, is_image=True, hidden=())(images).shape == (2, 2)
