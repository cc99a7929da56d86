"""Dense stacks in numpy, forward and backward."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters import _dense
from tensor_optix.adapters.pytorch._arrays import in_one_vector, parts_of
from tensor_optix.adapters.pytorch._names import unwrapped
from tensor_optix.adapters.pytorch._predictor import LogStd, flattened
from tensor_optix.adapters.pytorch._tape import Tape, Taped, noted
from tensor_optix.adapters.pytorch._temperature import Temperature


class UnsupportedError(Exception):
    """These models cannot be trained so."""


class Memory:
    """Weights while they are trained: those of an optimizer are one vector, on which a step is a few operations."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[torch.Tensor, np.ndarray]] = {}

    def hold(self, tensors: Sequence[torch.Tensor]) -> np.ndarray:
        """Copy tensors into one vector, and return it.

        Raises:
            UnsupportedError: one of them is held already, is elsewhere than on the CPU, or in another precision.
        """
        if not all(is_plain(tensor) and id(tensor) not in self._held for tensor in tensors):
            raise UnsupportedError
        vector = in_one_vector(tensors)
        parts = parts_of(vector, tensors)
        self._held |= {id(tensor): (tensor, part) for tensor, part in zip(tensors, parts, strict=True)}
        return vector

    def of(self, tensor: torch.Tensor) -> np.ndarray:
        """Return the array of a weight: what is not held is read where it is."""
        _, array = self._held.get(id(tensor), (tensor, None))
        return tensor.detach().numpy() if array is None else array

    def write_back(self) -> None:
        """Give the tensors the values of the arrays."""
        for tensor, array in self._held.values():
            tensor.detach().numpy()[...] = array


class Gradient:
    """That of one weight, in an array of its shape."""

    __slots__ = ("array", "is_complete")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.is_complete = False

    def add(self, term: np.ndarray) -> None:
        """Add a term; the first one is written over that of the last loss."""
        if self.is_complete:
            self.array += term
        else:
            self.array[...] = term
            self.is_complete = True

    def add_product(self, left: np.ndarray, right: np.ndarray) -> None:
        """Add left·right."""
        if self.is_complete:
            self.array += left @ right
        else:
            np.matmul(left, right, out=self.array)
            self.is_complete = True


class Gradients:
    """Those of some weights, one behind the other in one vector.

    Args:
        parameters: the weights.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.flat = np.empty(sum(p.numel() for p in parameters), np.float32)
        self._each = [Gradient(array) for array in parts_of(self.flat, parameters)]
        self._of = {id(p): gradient for p, gradient in zip(parameters, self._each, strict=True)}

    def of(self, parameter: torch.Tensor | None) -> Gradient | None:
        """Return that of a weight; None where it is not trained."""
        return self._of.get(id(parameter))

    def finish(self) -> None:
        """Take those that had no term for zero, and begin anew."""
        for gradient in self._each:
            if not gradient.is_complete:
                gradient.array.fill(0.0)
            gradient.is_complete = False


class Layer(Protocol):
    """One layer of a stack."""

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return its output (B, out), which may be in the memory of x (B, in), and what `backward` asks for."""
        ...

    def backward(self, gradient: np.ndarray, kept: Any, *, to_input: bool) -> np.ndarray | None:
        """Add to the gradients of its weights; return that of its input, where that is asked for.

        `gradient` (B, out) is that of its output. It is not changed: the loss may have noted it for another array, too.
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
        y = x @ self._weight.T
        if self._bias is not None:
            y += self._bias
        return y, x

    def backward(self, gradient: np.ndarray, kept: np.ndarray, *, to_input: bool) -> np.ndarray | None:
        """See `Layer.backward`."""
        if self._of_weight is not None:
            self._of_weight.add_product(gradient.T, kept)
        if self._of_bias is not None:
            self._of_bias.add(np.add.reduce(gradient, 0))
        return gradient @ self._weight if to_input else None


class Activation:
    """y = f(x), whose derivative is known from y.

    Args:
        function: f, in place.
        slope_times: f'(x)·g for y and g, in an array of its own.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        slope_times: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        self._function, self._slope_times = function, slope_times

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Layer.forward`."""
        y = self._function(x)
        return y, y

    def backward(self, gradient: np.ndarray, kept: np.ndarray, *, to_input: bool) -> np.ndarray:
        """See `Layer.backward`."""
        return self._slope_times(kept, gradient)


class AppendedLogStd:
    """[x ‖ log_std]; see `LogStd`.

    Args:
        module: the layer.
        memory: where its weight is.
        gradients: where that of its weight goes, if it is trained.
    """

    def __init__(self, module: LogStd, memory: Memory, gradients: Gradients) -> None:
        self._layer = _dense.AppendLogStd(memory.of(module.log_std))
        self._gradient = gradients.of(module.log_std)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """See `Layer.forward`."""
        return self._layer(x), x.shape[-1]

    def backward(self, gradient: np.ndarray, kept: int, *, to_input: bool) -> np.ndarray:
        """See `Layer.backward`."""
        if self._gradient is not None:
            self._gradient.add(np.add.reduce(gradient[:, kept:], 0))
        return gradient[:, :kept]


def _tanh_slope_times(y: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    slope = y * y
    np.subtract(1.0, slope, out=slope)
    return np.multiply(slope, gradient, out=slope)


_ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Tanh: Activation(_dense.tanh, _tanh_slope_times),
    nn.ReLU: Activation(_dense.relu, lambda y, gradient: (y > 0.0) * gradient),
    nn.Sigmoid: Activation(_dense.sigmoid, lambda y, gradient: y * (1.0 - y) * gradient),
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
                flowing = self._layers[i].backward(flowing, kept[i], to_input=to_input or i > 0)
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

    def __call__(self, _: object) -> Taped:
        """Return log α as a scalar."""

        def pull(gradient: np.ndarray) -> None:
            self._gradient.add(gradient)

        return noted(self._array.reshape(()).copy(), pull, self._tape)


def model_of(module: nn.Module, memory: Memory, gradients: Gradients, tape: Tape | None) -> Stack | LogAlpha:
    """Return a module as a function of taped arrays."""
    module = unwrapped(module)
    parameters = list(module.parameters())
    if not all(map(is_plain, parameters)):
        raise UnsupportedError
    if type(module) is Temperature:
        return LogAlpha(module, memory, gradients, tape)
    modules = flattened(module, [], [])
    if modules is None or type(modules[0]) is not nn.Linear:
        raise UnsupportedError
    return Stack([layer for each in modules if (layer := _layer_of(each, memory, gradients)) is not None], tape)


def is_plain(parameter: torch.Tensor) -> bool:
    """Return whether a weight is one float32 array on the CPU that nobody watches."""
    is_here = parameter.dtype is torch.float32 and parameter.device.type == "cpu"
    return is_here and parameter.is_contiguous() and not parameter._backward_hooks


def _layer_of(module: nn.Module, memory: Memory, gradients: Gradients) -> Layer | None:
    kind = type(module)
    if module._backward_hooks or module._backward_pre_hooks:
        raise UnsupportedError
    if kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind]
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        return Linear(module, memory, gradients)
    if isinstance(module, LogStd) and kind is LogStd:
        return AppendedLogStd(module, memory, gradients)
    if kind is nn.Identity or (isinstance(module, nn.Dropout) and module.p == 0.0):
        return None
    raise UnsupportedError
