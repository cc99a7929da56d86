"""What the factory's networks look like, in words that both frameworks understand."""

from collections.abc import Sequence
from dataclasses import dataclass
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


NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""(filters, kernel, stride) of each."""
NATURE_FEATURES = 512
SMALLEST_IMAGE = 36
"""Side of the smallest image that the convolutions leave something of."""
