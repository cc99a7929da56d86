"""The factory's networks in Keras: how they are initialised, and what images become."""

import math
from typing import Any

import keras
import numpy as np
import pytest

from tensor_optix.adapters._architecture import Architecture
from tensor_optix.adapters.tensorflow._networks import build


def built(seed: int = 0, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "input_shape": (3,),
        "hidden": (16, 8),
        "outputs": 2,
        "activation": "tanh",
        "initial": "orthogonal",
    }
    return build(Architecture(**(values | changes)), np.random.SeedSequence(seed))


def kernels_and_biases(network: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    arrays = [variable.numpy() for variable in network.weights]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def test_the_same_seed_gives_the_same_weights_whatever_the_process_has_drawn() -> None:
    first = kernels_and_biases(built())
    keras.random.uniform((7,))
    second, other = kernels_and_biases(built()), kernels_and_biases(built(seed=1))
    assert all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert not np.array_equal(first[0][0], other[0][0])


def test_orthogonal_layers_have_their_gains_and_no_bias() -> None:
    for (kernel, bias), gain in zip(kernels_and_biases(built(head_gain=0.01)), (2.0, 2.0, 0.0001), strict=True):
        gram = kernel.T @ kernel if kernel.shape[1] <= kernel.shape[0] else kernel @ kernel.T
        assert gram == pytest.approx(gain * np.eye(len(gram)), abs=1e-5)
        assert not bias.any()


def test_uniform_layers_are_within_one_by_the_root_of_their_inputs() -> None:
    for kernel, bias in kernels_and_biases(built(initial="uniform", hidden=(64,))):
        bound = 1.0 / math.sqrt(kernel.shape[0])
        assert 0.8 * bound < np.abs(kernel).max() <= bound
        assert np.abs(bias).max() <= bound


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_every_hidden_layer_is_activated_and_the_head_is_not(activation: str) -> None:
    assert [layer.activation.__name__ for layer in built(activation=activation).layers] == [
        activation,
        activation,
        "linear",
    ]


@pytest.mark.parametrize("shape", [(4, 36, 40), (36, 40, 3)])
def test_images_of_bytes_become_numbers_with_the_channels_last(shape: tuple[int, ...]) -> None:
    network = built(input_shape=shape, is_image=True, hidden=())
    assert network(np.full((2, *shape), 255, np.uint8)).shape == (2, 2)
    scaled = next(layer for layer in network.layers if isinstance(layer, keras.layers.Rescaling))
    assert scaled.output.shape == (None, 36, 40, min(shape))
    assert np.allclose(scaled(np.full((1, 36, 40, min(shape)), 255, np.uint8)), 1.0)
