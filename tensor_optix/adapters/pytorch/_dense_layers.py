"""Dense stacks in numpy, forward and backward."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from torch import nn

from tensor_optix.adapters import _dense
from tensor_optix.adapters.pytorch._dense_kernels import affine, product, relu
from tensor_optix.adapters.pytorch._dense_memory import Gradients, Memory, UnsupportedError, is_plain
from tensor_optix.adapters.pytorch._names import unwrapped
from tensor_optix.adapters.pytorch._predictor import LogStd, flattened
from tensor_optix.adapters.pytorch._recording import bare, beside
from tensor_optix.adapters.pytorch._tape import Tape, Taped, noted
from tensor_optix.adapters.pytorch._temperature import Temperature


class Layer(Protocol):
    """One layer of a stack."""

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return its output (B, out), which may be in the memory of x (B, in), and what `backward` asks for.

        Of the first layer x may be the places (B,) of ones, for one-hot rows.
        """
        ...

    def backward(self, gradient: np.ndarray, kept: Any, *, is_own: bool, to_input: bool) -> np.ndarray | None:
        """Add to the gradients of its weights; return that of its input, where that is asked for.

        `gradient` (B, out) is that of its output. It is changed only if it is the stack's own: the loss may have noted
        it for another array, too.
        """
        ...


class Linear:
    """x·Wᵀ + b.

    Args:
        module: the layer.
        memory: where its weights are.
        gradients: where those of its weights go, if they are trained.
    """

    def __init__(self, module: nn.Linear, memory: Memory, gradients: Gradients) -> None:
        self._weight = memory.of(module.weight)
        self._bias = None if module.bias is None else memory.of(module.bias)
        self._of_weight, self._of_bias = gradients.of(module.weight), gradients.of(module.bias)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Layer.forward`."""
        if x.ndim == 1:
            rows = np.take(beside(self._weight, x), x, 1).T
            return (rows.copy() if self._bias is None else np.add(rows, self._bias, order="C")), x
        return affine(x, self._weight, self._bias), x

    def backward(self, gradient: np.ndarray, kept: np.ndarray, *, is_own: bool, to_input: bool) -> np.ndarray | None:
        """See `Layer.backward`."""
        if self._of_weight is not None and kept.ndim == 1:
            self._of_weight.add_at(kept, gradient)
        elif self._of_weight is not None:
            self._of_weight.add_product(gradient.T, kept)
        if self._of_bias is not None:
            self._of_bias.add(np.add.reduce(gradient, 0))
        return product(gradient, self._weight) if to_input else None


class Activation:
    """y = f(x), whose derivative is known from y.

    Args:
        function: f, in place.
        slope: f'(x) for y, in an array of its own.
    """

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], slope: Callable[[np.ndarray], np.ndarray]) -> None:
        self._function, self._slope = function, slope

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Layer.forward`."""
        y = self._function(x)
        return y, y

    def backward(self, gradient: np.ndarray, kept: np.ndarray, *, is_own: bool, to_input: bool) -> np.ndarray:
        """See `Layer.backward`."""
        # Large arrays leave the cache while the others are computed; memory just written is still there.
        return np.multiply(self._slope(kept), gradient, out=gradient if is_own else None)


class AppendedLogStd:
    """[x ‖ log_std]; see `LogStd`.

    Args:
        module: the layer.
        memory: where its weight is.
        gradients: where that of its weight goes, if it is trained.
    """

    def __init__(self, module: LogStd, memory: Memory, gradients: Gradients) -> None:
        self._log_std = memory.of(module.log_std)
        self._gradient = gradients.of(module.log_std)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """See `Layer.forward`."""
        return np.concatenate([x, np.broadcast_to(self._log_std, x.shape)], -1), x.shape[-1]

    def backward(self, gradient: np.ndarray, kept: int, *, is_own: bool, to_input: bool) -> np.ndarray:
        """See `Layer.backward`."""
        if self._gradient is not None:
            self._gradient.add(np.add.reduce(gradient[:, kept:], 0))
        return gradient[:, :kept]


def _tanh_slope(y: np.ndarray) -> np.ndarray:
    slope = y * y
    return np.subtract(1.0, slope, out=slope)


_ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Tanh: Activation(_dense.tanh, _tanh_slope),
    nn.ReLU: Activation(relu, lambda y: y > 0.0),
    nn.Sigmoid: Activation(_dense.sigmoid, lambda y: y * (1.0 - y)),
}


class Stack:
    """A module as a function of a taped array.

    Args:
        layers: its layers.
        tape: of the loss that trains weights of it; None: it is only read.
    """

    def __init__(self, layers: Sequence[Layer], tape: Tape | None) -> None:
        self._layers, self._tape = layers, tape

    def __call__(self, x: Taped) -> Taped:
        """Return the output (B, out) for (B, in)."""
        y, kept = x.array, []
        for layer in self._layers:
            y, needed = layer.forward(y)
            kept.append(needed)
        to_input = x.tape is not None

        def pull(gradient: np.ndarray) -> None:
            flowing: Any = gradient
            for i in range(len(self._layers) - 1, -1, -1):
                is_own = not np.may_share_memory(bare(flowing), bare(gradient))
                flowing = self._layers[i].backward(flowing, kept[i], is_own=is_own, to_input=to_input or i > 0)
            if to_input:
                x.add_gradient(flowing)

        return noted(y, pull, x.tape or self._tape)


class LogAlpha:
    """A `Temperature`, whose output is its weight whatever it is called with.

    Args:
        module: the model.
        memory: where its weight is.
        gradients: where that of its weight goes, if it is trained.
        tape: of the loss that trains it; None: it is only read.
    """

    def __init__(self, module: Temperature, memory: Memory, gradients: Gradients, tape: Tape | None) -> None:
        self._array, self._tape = memory.of(module.log_alpha), tape
        self._gradient: Any = gradients.of(module.log_alpha)

    def __call__(self, x: Taped) -> Taped:
        """Return log α as a scalar."""

        def pull(gradient: np.ndarray) -> None:
            self._gradient.add(gradient)

        return noted(beside(self._array.reshape(()), x.array).copy(), pull, self._tape)


def layers_of(module: nn.Module) -> list[nn.Module]:
    """Return the layers that compute something, of a module that can be trained so: a stack, or a `Temperature`.

    Raises:
        UnsupportedError: it is neither.
    """
    module = unwrapped(module)
    if not all(map(is_plain, module.parameters())):
        raise UnsupportedError
    if type(module) is Temperature:
        return [module]
    modules = flattened(module, [], [])
    if modules is None or type(modules[0]) is not nn.Linear or not all(map(_is_known, modules)):
        raise UnsupportedError
    return [each for each in modules if not _does_nothing(each)]


def model_of(layers: Sequence[nn.Module], memory: Memory, gradients: Gradients, tape: Tape | None) -> Stack | LogAlpha:
    """Return a module as a function of taped arrays, given its layers (`layers_of`)."""
    if isinstance(layers[0], Temperature):
        return LogAlpha(layers[0], memory, gradients, tape)
    return Stack([_layer_of(each, memory, gradients) for each in layers], tape)


def _does_nothing(module: nn.Module) -> bool:
    return type(module) is nn.Identity or (isinstance(module, nn.Dropout) and module.p == 0.0)


def _is_known(module: nn.Module) -> bool:
    is_watched = module._backward_hooks or module._backward_pre_hooks
    return not is_watched and (type(module) in (nn.Linear, LogStd, *_ACTIVATIONS) or _does_nothing(module))


def _layer_of(module: nn.Module, memory: Memory, gradients: Gradients) -> Layer:
    if isinstance(module, nn.Linear):
        return Linear(module, memory, gradients)
    if isinstance(module, LogStd):
        return AppendedLogStd(module, memory, gradients)
    return _ACTIVATIONS[type(module)]
