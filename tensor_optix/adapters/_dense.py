"""Dense stacks in numpy: one observation through a framework costs 30 to 1,600 us, through this about 5."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from tensor_optix.adapters._one_hot import places_in

type_of_layer = Callable[[np.ndarray], np.ndarray]
_MANY = 64
"""Rows from which looking whether they are one-hot pays."""


class Affine:
    """x·W + b. The arrays may be views of the framework's own memory."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | None) -> None:
        self.kernel = kernel
        self.bias = bias

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return a new array (..., out)."""
        x = self._product(x)
        if self.bias is not None:
            x += self.bias
        return x

    def _product(self, x: np.ndarray) -> np.ndarray:
        if x.ndim > 2:
            return x @ self.kernel
        places = places_in(x) if len(x) >= _MANY else None
        return x.dot(self.kernel) if places is None else self.kernel[places]  # as `@`, but numpy begins it sooner


class AppendLogStd:
    """[x ‖ log_std], the output of a Gaussian policy whose deviation does not depend on the observation."""

    def __init__(self, log_std: np.ndarray) -> None:
        self.log_std = log_std

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return a new array (..., 2A)."""
        size = x.shape[-1]
        dtype = x.dtype if x.dtype == self.log_std.dtype else np.result_type(x, self.log_std)
        found = np.empty((*x.shape[:-1], 2 * size), dtype)
        found[..., :size], found[..., size:] = x, self.log_std
        return found


def tanh(x: np.ndarray) -> np.ndarray:
    """Tanh x, in place."""
    return np.tanh(x, out=x)


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), in place."""
    return np.maximum(x, 0.0, out=x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1/(1 + e⁻ˣ), as (1 + tanh(x/2))/2, which cannot overflow; in place."""
    x *= 0.5
    np.tanh(x, out=x)
    x += 1.0
    x *= 0.5
    return x


def silu(x: np.ndarray) -> np.ndarray:
    """x·sigmoid(x)."""
    return x * sigmoid(x.copy())


def elu(x: np.ndarray) -> np.ndarray:
    """X where x > 0, else eˣ − 1."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def forward(layers: Sequence[type_of_layer], x: np.ndarray) -> np.ndarray:
    """Return x after all layers; the first one must not work in place."""
    for layer in layers:
        x = layer(x)
    return x


class Frozen:
    """A dense stack as it is now: weights of its own, which no training reaches.

    Args:
        layers: what it is a copy of.
        dtype: what observations are computed in.
    """

    def __init__(self, layers: Sequence[type_of_layer], dtype: DTypeLike = np.float32) -> None:
        self._layers = [_copied(layer) for layer in layers]
        self._dtype = dtype

    def __call__(self, observations: object) -> np.ndarray:
        """Return the output for observations (B, ...)."""
        return forward(self._layers, np.asarray(observations, self._dtype))

    def one(self, observation: object) -> np.ndarray:
        """Return the output for one observation."""
        return self(observation)

    def frozen(self) -> "Frozen":
        """Return a copy."""
        return Frozen(self._layers, self._dtype)

    def weights(self) -> list[np.ndarray]:
        """Return its weights, in their order; what is written to them is in force."""
        return [weight for layer in self._layers for weight in _weights_of(layer)]


def _copied(layer: type_of_layer) -> type_of_layer:
    if isinstance(layer, Affine):
        return Affine(layer.kernel.copy(), None if layer.bias is None else layer.bias.copy())
    return AppendLogStd(layer.log_std.copy()) if isinstance(layer, AppendLogStd) else layer


def _weights_of(layer: type_of_layer) -> list[np.ndarray]:
    if isinstance(layer, Affine):
        return [layer.kernel] if layer.bias is None else [layer.kernel, layer.bias]
    return [layer.log_std] if isinstance(layer, AppendLogStd) else []
