"""Acting with a PyTorch module: dense stacks in numpy on the module's own memory, anything else through PyTorch."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters import _dense
from tensor_optix.adapters._checks import NoTensorError
from tensor_optix.adapters.pytorch._arrays import input_dtype
from tensor_optix.adapters.pytorch._names import unwrapped
from tensor_optix.adapters.pytorch._randomness import TorchRandomness

_ACTIVATIONS: dict[type[nn.Module], Callable[[np.ndarray], np.ndarray]] = {
    nn.Tanh: _dense.tanh,
    nn.ReLU: _dense.relu,
    nn.Sigmoid: _dense.sigmoid,
    nn.SiLU: _dense.silu,
}
_IDENTITIES = (nn.Identity, nn.Dropout)


class LogStd(nn.Module):
    """Last layer of a Gaussian policy: appends a free log_std (A,) to the mean (B, A), giving [mean ‖ log_std] (B, 2A).

    Args:
        size: A, number of action dimensions.
        initial: log_std at the start.
    """

    def __init__(self, size: int, initial: float = 0.0) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.full((size,), float(initial)))

    def forward(self, mean: torch.Tensor) -> torch.Tensor:
        """Return (B, 2A)."""
        return torch.cat([mean, self.log_std.expand_as(mean)], dim=-1)


class TorchPredictor:
    """A module's output as a numpy array, without gradients, always from its present weights.

    The numpy layers are views of the parameters' memory, so that any change in place shows at once. What would make
    them wrong otherwise - another layer or parameter in the stack, a parameter with other storage, a hook - is looked
    for before each output, and the layers are made anew.
    """

    def __init__(self, module: nn.Module, randomness: TorchRandomness | None = None) -> None:
        self._module = module
        self._randomness = randomness or contextlib.nullcontext()
        self._layers: list[_dense.type_of_layer] | None = None
        self._stacks: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        self._hooks: list[Any] = []
        self._places: list[tuple[Callable[[str], object], str, nn.Parameter | None]] = []
        """Where each parameter is looked up, by its name."""
        self._memory: list[
            tuple[Callable[[], int], int, Callable[[], object], object, Callable[[], object], object]
        ] = []
        """Address, strides and size of each: what tells them, and what it told."""
        self._dtype: Any = np.float32
        self._mirror()

    def __call__(self, observations: object) -> np.ndarray:
        """Return the output for observations (B, ...)."""
        if self._layers is not None and not self._is_current():
            self._mirror()
        if self._layers is None:
            return self._through_torch(np.asarray(observations))
        return _dense.forward(self._layers, np.asarray(observations, self._dtype))

    def one(self, observation: object) -> np.ndarray:
        """Return the output for one observation."""
        if self._layers is not None and self._is_current():  # a dense stack takes a single row as it is
            return _dense.forward(self._layers, np.asarray(observation, self._dtype))
        return self(np.asarray(observation)[None])[0]

    def frozen(self) -> _dense.Frozen | None:
        """Return the module as it is now, with weights of its own; None where it is no dense stack on the CPU."""
        if self._layers is not None and not self._is_current():
            self._mirror()
        return None if self._layers is None else _dense.Frozen(self._layers, self._dtype)

    def _is_current(self) -> bool:
        for look_up, name, parameter in self._places:
            if look_up(name) is not parameter:
                return False
        for address, its_address, stride, its_stride, size, its_size in self._memory:
            if address() != its_address or stride() != its_stride or size() != its_size:
                return False
        for stack, layers in self._stacks:
            if tuple(stack.values()) != layers:
                return False
        return not any(self._hooks)

    def _through_torch(self, observations: np.ndarray) -> np.ndarray:
        parameter = next(self._module.parameters(), None)
        device = parameter.device if parameter is not None else None
        dtype = input_dtype(self._module)
        with torch.inference_mode(), self._randomness:
            # A copy: a module may work in place, and the caller's array is not its to change.
            output = self._module(torch.tensor(observations, dtype=dtype, device=device))
            if not isinstance(output, torch.Tensor):
                raise NoTensorError(output, "torch.Tensor")
            output = output.cpu()
            return (output if output.dtype is torch.float64 else output.float()).numpy()

    def _mirror(self) -> None:
        """Build the numpy layers, or none where the module is not a dense stack on the CPU."""
        self._layers, self._stacks, self._hooks, self._places, self._memory = None, [], [], [], []
        modules = flattened(unwrapped(self._module), self._hooks, self._stacks)
        if modules is None or type(modules[0]) is not nn.Linear:
            return
        layers: list[_dense.type_of_layer] = []
        for module in modules:
            kind = type(module)
            if kind in _ACTIVATIONS:
                layers.append(_ACTIVATIONS[kind])
            elif kind is nn.Linear and _is_viewable(module, "weight", "bias"):
                layers.append(_dense.Affine(self._view(module, "weight").T, self._view(module, "bias")))
            elif kind is LogStd and _is_viewable(module, "log_std"):
                layers.append(_dense.AppendLogStd(self._view(module, "log_std")))
            elif kind not in _IDENTITIES:
                return
        self._dtype = layers[0].kernel.dtype  # type: ignore[attr-defined]
        self._layers = layers

    def _view(self, module: nn.Module, name: str) -> Any:
        parameter = module._parameters.get(name)
        self._places.append((module._parameters.get, name, parameter))
        if parameter is None:
            return None
        told = parameter.data_ptr, parameter.stride, parameter.size
        self._memory.append((told[0], told[0](), told[1], told[1](), told[2], told[2]()))
        return parameter.detach().numpy()


def flattened(
    module: nn.Module, hooks: list[Any], stacks: list[tuple[dict[str, Any], tuple[Any, ...]]]
) -> list[nn.Module] | None:
    """Return the layers of a (nested) plain `nn.Sequential` in order, None if it is anything else or has hooks.

    Args:
        module: the stack.
        hooks: gets what has to stay empty for the layers to be all that is computed.
        stacks: gets what has to stay as it is: the layers of each stack.
    """
    own = [module._forward_hooks, module._forward_pre_hooks]
    if any(own) or "forward" in vars(module):
        return None
    hooks += own
    if type(module) is not nn.Sequential:
        return [module]
    stacks.append((module._modules, tuple(module._modules.values())))
    layers: list[nn.Module] = []
    for child in module:
        inner = flattened(child, hooks, stacks)
        if inner is None:
            return None
        layers += inner
    return layers or None


def _is_viewable(module: nn.Module, *names: str) -> bool:
    """True if the named parameters (but the first may be None) can be seen as numpy arrays of one dtype."""
    parameters = [module._parameters.get(name) for name in names]
    first = parameters[0]
    if first is None or first.dtype not in (torch.float32, torch.float64):
        return False
    return all(p is None or (p.device.type == "cpu" and p.dtype is first.dtype) for p in parameters)
