"""The networks of the factory: the same words make the same shapes in both frameworks."""

from typing import Any

import numpy as np
import pytest
import torch

from tensor_optix.adapters._architecture import NATURE_CONVOLUTIONS, NATURE_FEATURES, SMALLEST_IMAGE, Architecture
from tensor_optix.adapters.pytorch import _networks as torch_networks
from tensor_optix.adapters.tensorflow import _networks as tf_networks


def architecture(**changes: Any) -> Architecture:
    values: dict[str, Any] = {
        "input_shape": (3,),
        "hidden": (8, 6),
        "outputs": 4,
        "activation": "tanh",
        "initial": "orthogonal",
    }
    return Architecture(**(values | changes))


def shapes(framework: str, network: Architecture) -> list[tuple[int, ...]]:
    if framework == "torch":
        return [tuple(p.shape) for p in torch_networks.build(network, torch.Generator()).parameters()]
    model = tf_networks.build(network, np.random.SeedSequence(0))
    model(np.zeros((1, *network.input_shape), np.float32))
    return [tuple(reversed(w.shape)) if len(w.shape) == 2 else tuple(w.shape) for w in model.weights]


@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(8, 3), (8,), (6, 8), (6,), (4, 6), (4,)]),
        ({"hidden": ()}, [(4, 3), (4,)]),
        ({"input_shape": (2, 5), "hidden": (7,)}, [(7, 10), (7,), (4, 7), (4,)]),
    ],
)
def test_layers_are_as_wide_as_they_are_told(framework: str, changes: dict[str, Any], expected: list[Any]) -> None:
    assert shapes(framework, architecture(**changes)) == expected


@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_images_go_through_convolutions_and_their_own_dense_layer(framework: str) -> None:
    found = shapes(framework, architecture(input_shape=(4, SMALLEST_IMAGE, SMALLEST_IMAGE), hidden=(), is_image=True))
    biases = [shape[0] for shape in found if len(shape) == 1]
    assert biases == [*(filters for filters, _, _ in NATURE_CONVOLUTIONS), NATURE_FEATURES, 4]


def test_the_smallest_image_is_the_smallest_of_which_something_is_left() -> None:
    def left(side: int) -> int:
        for _, kernel, stride in NATURE_CONVOLUTIONS:
            side = (side - kernel) // stride + 1
        return side

    assert (left(SMALLEST_IMAGE), left(SMALLEST_IMAGE - 1)) == (1, 0)


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 84, 84), 0), ((84, 84, 3), 2), ((64, 3, 64), 1), ((84, 84, 84), 0), ((1, 36, 40), 0)]
)
def test_channels_are_the_shortest_axis(shape: tuple[int, ...], axis: int) -> None:
    assert architecture(input_shape=shape, is_image=True).channel_axis == axis
