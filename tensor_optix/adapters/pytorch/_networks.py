"""The factory's networks in PyTorch, initialised from a generator of their own."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tensor_optix.adapters._architecture import NATURE_CONVOLUTIONS, NATURE_FEATURES, Architecture
from tensor_optix.adapters.pytorch._without_compiler import unfilled

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class ImageInput(nn.Module):
    """Bytes (B, ...) → numbers in [0, 1] with the channels first (B, C, H, W).

    Args:
        channel_axis: where the channels of one observation are.
    """

    def __init__(self, channel_axis: int) -> None:
        super().__init__()
        self.channel_axis = channel_axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, C, H, W)."""
        return torch.movedim(x, self.channel_axis + 1, 1) / 255.0


def build(architecture: Architecture, generator: torch.Generator) -> nn.Sequential:
    """Return the network; nothing is drawn from the process's global generator."""
    return on_one_trunk([architecture], generator)[0]


def on_one_trunk(architectures: Sequence[Architecture], generator: torch.Generator) -> list[nn.Sequential]:
    """Return networks of images that differ in what follows the trunk, whose layers they share.

    The trunk is the convolutions and the dense layer behind them.
    """
    trunk, size = _trunk(architectures[0], generator)
    return [nn.Sequential(*trunk, *_dense(architecture, size, generator)) for architecture in architectures]


def _trunk(architecture: Architecture, generator: torch.Generator) -> tuple[list[nn.Module], int]:
    """Return the layers before those of `Architecture.hidden`, and how many numbers they give."""
    shape = architecture.input_shape
    if not architecture.is_image:
        return [nn.Flatten()] if len(shape) != 1 else [], math.prod(shape)
    channels = shape[architecture.channel_axis]
    layers: list[nn.Module] = [ImageInput(architecture.channel_axis)]
    for filters, kernel, stride in NATURE_CONVOLUTIONS:
        convolution = unfilled(nn.Conv2d, channels, filters, kernel, stride=stride)
        layers += [_initialised(convolution, architecture, 2**0.5, generator), nn.ReLU()]
        channels = filters
    layers.append(nn.Flatten())
    with torch.inference_mode():
        size = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
    features = unfilled(nn.Linear, size, NATURE_FEATURES)
    return [*layers, _initialised(features, architecture, 2**0.5, generator), nn.ReLU()], NATURE_FEATURES


def _dense(architecture: Architecture, size: int, generator: torch.Generator) -> list[nn.Module]:
    """Return the hidden layers and the head behind `size` numbers."""
    activation = nn.ReLU if architecture.is_image else _ACTIVATIONS[architecture.activation]
    layers: list[nn.Module] = []
    sizes = [size, *architecture.hidden]
    for fan_in, fan_out in itertools.pairwise(sizes):
        linear = unfilled(nn.Linear, fan_in, fan_out)
        layers += [_initialised(linear, architecture, 2**0.5, generator), activation()]
    head = unfilled(nn.Linear, sizes[-1], architecture.outputs)
    return [*layers, _initialised(head, architecture, architecture.head_gain, generator)]


def _initialised(layer: Any, architecture: Architecture, gain: float, generator: torch.Generator) -> nn.Module:
    if architecture.initial == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
    else:
        bound = 1.0 / math.sqrt(layer.weight[0].numel())
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
