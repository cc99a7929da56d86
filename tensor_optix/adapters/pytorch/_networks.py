"""The factory's networks in PyTorch, initialised from a generator of their own."""

import itertools
import math
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
    layers: list[nn.Module] = []
    shape, hidden = architecture.input_shape, list(architecture.hidden)
    if architecture.is_image:
        channels = shape[architecture.channel_axis]
        layers.append(ImageInput(architecture.channel_axis))
        for filters, kernel, stride in NATURE_CONVOLUTIONS:
            convolution = unfilled(nn.Conv2d, channels, filters, kernel, stride=stride)
            layers += [_initialised(convolution, architecture, 2**0.5, generator), nn.ReLU()]
            channels = filters
        layers.append(nn.Flatten())
        with torch.inference_mode():
            size = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
        hidden.insert(0, NATURE_FEATURES)
    else:
        size = math.prod(shape)
        if len(shape) != 1:
            layers.append(nn.Flatten())
    sizes = [size, *hidden, architecture.outputs]
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        is_head = i == len(sizes) - 2
        linear = unfilled(nn.Linear, fan_in, fan_out)
        layers.append(_initialised(linear, architecture, architecture.head_gain if is_head else 2**0.5, generator))
        if not is_head:
            layers.append(nn.ReLU() if architecture.is_image else _ACTIVATIONS[architecture.activation]())
    return nn.Sequential(*layers)


def _initialised(layer: Any, architecture: Architecture, gain: float, generator: torch.Generator) -> nn.Module:
    if architecture.initial == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
    else:
        bound = 1.0 / math.sqrt(layer.weight[0].numel())
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
