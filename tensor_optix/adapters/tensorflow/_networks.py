"""The factory's networks in Keras, initialised from seeds of their own."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensor_optix.adapters._architecture import NATURE_CONVOLUTIONS, NATURE_FEATURES, Architecture
from tensor_optix.adapters.tensorflow._keras import keras

_FORMAT = "channels_last"
"""Whatever the user's own models have: on a CPU there are no other convolutions."""


def build(architecture: Architecture, seeds: np.random.SeedSequence) -> keras.Model:
    """Return the network; nothing is drawn from the process's global generator."""
    return on_one_trunk([architecture], seeds)[0]


def on_one_trunk(architectures: Sequence[Architecture], seeds: np.random.SeedSequence) -> list[keras.Model]:
    """Return networks of images that differ in what follows the trunk, whose layers they share.

    The trunk is the convolutions and the dense layer behind them.
    """
    shape = architectures[0].input_shape
    trunk, size = _trunk(architectures[0], seeds)
    return [
        keras.Sequential([keras.layers.Input(shape), *trunk, *_dense(architecture, size, seeds)])
        for architecture in architectures
    ]


def _trunk(architecture: Architecture, seeds: np.random.SeedSequence) -> tuple[list[keras.layers.Layer], int]:
    """Return the layers before those of `Architecture.hidden`, and how many numbers they give."""
    shape = architecture.input_shape
    if not architecture.is_image:
        return [keras.layers.Flatten(_FORMAT)] if len(shape) != 1 else [], math.prod(shape)
    layers: list[keras.layers.Layer] = []
    axis = architecture.channel_axis
    if axis != 2:  # on a CPU, convolutions want the channels last
        layers.append(keras.layers.Permute([*(i + 1 for i in range(3) if i != axis), axis + 1]))
    layers.append(keras.layers.Rescaling(1.0 / 255.0))
    channels = shape[axis]
    for filters, kernel, stride in NATURE_CONVOLUTIONS:
        initial = _initial(architecture, 2**0.5, channels * kernel**2, seeds)
        initial |= {"strides": stride, "activation": "relu", "data_format": _FORMAT}
        layers.append(keras.layers.Conv2D(filters, kernel, **initial))
        channels = filters
    layers.append(keras.layers.Flatten(_FORMAT))
    convolutions: Any = keras.Sequential([keras.layers.Input(shape), *layers])
    initial = _initial(architecture, 2**0.5, convolutions.output_shape[1], seeds)
    return [*layers, keras.layers.Dense(NATURE_FEATURES, "relu", **initial)], NATURE_FEATURES


def _dense(architecture: Architecture, size: int, seeds: np.random.SeedSequence) -> list[keras.layers.Layer]:
    """Return the hidden layers and the head behind `size` numbers."""
    activation = "relu" if architecture.is_image else architecture.activation
    layers: list[keras.layers.Layer] = []
    for width in architecture.hidden:
        layers.append(keras.layers.Dense(width, activation, **_initial(architecture, 2**0.5, size, seeds)))
        size = width
    head = _initial(architecture, architecture.head_gain, size, seeds)
    return [*layers, keras.layers.Dense(architecture.outputs, **head)]


def _initial(architecture: Architecture, gain: float, fan_in: int, seeds: np.random.SeedSequence) -> dict[str, Any]:
    kernel_seed, bias_seed = (int(child.generate_state(1)[0]) for child in seeds.spawn(2))
    if architecture.initial == "orthogonal":
        orthogonal: object = keras.initializers.Orthogonal(gain, seed=kernel_seed)
        return {"kernel_initializer": orthogonal, "bias_initializer": "zeros"}
    bound = 1.0 / math.sqrt(fan_in)
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-bound, bound, seed=kernel_seed),
        "bias_initializer": keras.initializers.RandomUniform(-bound, bound, seed=bias_seed),
    }
