"""The factory's networks in Keras, initialised from seeds of their own."""

import math
from typing import Any

import numpy as np

from tensor_optix.adapters._architecture import NATURE_CONVOLUTIONS, NATURE_FEATURES, Architecture
from tensor_optix.adapters.tensorflow._keras import keras

_FORMAT = "channels_last"
"""Whatever the user's own models have: on a CPU there are no other convolutions."""


def build(architecture: Architecture, seeds: np.random.SeedSequence) -> keras.Model:
    """Return the network; nothing is drawn from the process's global generator."""
    layers: list[Any] = [keras.layers.Input(architecture.input_shape)]
    hidden = list(architecture.hidden)
    if architecture.is_image:
        axis = architecture.channel_axis
        if axis != 2:  # on a CPU, convolutions want the channels last
            layers.append(keras.layers.Permute([*(i + 1 for i in range(3) if i != axis), axis + 1]))
        layers.append(keras.layers.Rescaling(1.0 / 255.0))
        channels = architecture.input_shape[axis]
        for filters, kernel, stride in NATURE_CONVOLUTIONS:
            initial = _initial(architecture, 2**0.5, channels * kernel**2, seeds)
            initial |= {"strides": stride, "activation": "relu", "data_format": _FORMAT}
            layers.append(keras.layers.Conv2D(filters, kernel, **initial))
            channels = filters
        layers.append(keras.layers.Flatten(_FORMAT))
        convolutions: Any = keras.Sequential(list(layers))
        size = convolutions.output_shape[1]
        hidden.insert(0, NATURE_FEATURES)
    else:
        size = math.prod(architecture.input_shape)
        if len(architecture.input_shape) != 1:
            layers.append(keras.layers.Flatten(_FORMAT))
    activation = "relu" if architecture.is_image else architecture.activation
    for width in hidden:
        layers.append(keras.layers.Dense(width, activation, **_initial(architecture, 2**0.5, size, seeds)))
        size = width
    head = _initial(architecture, architecture.head_gain, size, seeds)
    layers.append(keras.layers.Dense(architecture.outputs, **head))
    return keras.Sequential(layers)


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
