"""What the factory's networks look like, in words that both frameworks understand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network from observations to a vector.

    Images go through the convolutions of the Nature DQN and a dense layer of 512; anything else is flattened.
    Source: Human-level control through deep reinforcement learning (Mnih et al., 2015).
    """

    input_shape: tuple[int, ...]
    """Shape of one observation."""
    hidden: Sequence[int]
    """Sizes of the dense layers; for images, of those after the convolutions' own."""
    outputs: int
    activation: Literal["tanh", "relu"]
    """Of the dense layers; convolutions have relu."""
    initial: Literal["orthogonal", "uniform"]
    """Orthogonal with gain √2 and zero biases, or U(±1/√fan_in) for weights and biases."""
    head_gain: float = 1.0
    """Gain of the last layer, where orthogonal."""
    is_image: bool = False

    @property
    def channel_axis(self) -> int:
        """Which axis of an image holds its channels or frames: the shortest."""
        return min(range(3), key=self.input_shape.__getitem__)


@dataclass(frozen=True, kw_only=True)
class RecurrentArchitecture:
    """A network from sequences of observations to a policy's parameters and a value, with a memory for each of them.

    Images go through convolutions first, as in `Architecture`; anything else is flattened and goes to the cell itself.
    """

    head: Architecture
    """From what the cell gives (memory_size,) to the parameters; the value has a head like it with one output."""
    input_shape: tuple[int, ...]
    """Shape of one observation."""
    cell: Literal["lstm", "gru"]
    """Long short-term memory, or gated recurrent unit."""
    has_log_std: bool = False
    """A free log_std (A,) stands behind the A means."""
    is_image: bool = False

    @property
    def memory_size(self) -> int:
        """H, what a cell gives; an LSTM remembers 2·H numbers, a GRU H."""
        return self.head.input_shape[0]

    @property
    def encoder(self) -> Architecture | None:
        """What images go through first."""
        if not self.is_image:
            return None
        return replace(
            self.head,
            input_shape=self.input_shape,
            hidden=(),
            outputs=self.memory_size,
            is_image=True,
            head_gain=2**0.5,
        )


NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""(filters, kernel, stride) of each."""
NATURE_FEATURES = 512
SMALLEST_IMAGE = 36
"""Side of the smallest image that the convolutions leave something of."""
FORGET_BIAS = 1.0
"""Of an LSTM at the start: it remembers.

Source: An Empirical Exploration of Recurrent Network Architectures (Jozefowicz et al., 2015).
"""
