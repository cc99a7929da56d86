"""Acting with a PyTorch module: dense stacks in numpy on the module's own memory, anything else through PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters import _dense

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


class Predictor:
    """A module's output as a numpy array, without gradients, always from its present weights.

    The numpy layers are views of the parameters' memory, so that any change in place shows at once; where a parameter's
    storage was replaced, which its address tells, the views are made anew.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._layers: list[_dense.type_of_layer] | None = None
        self._watched: list[tuple[dict[str, Any], str, Any, int]] = []
        self._dtype: Any = np.float32
        self._mirror()

    def __call__(self, observations: Any) -> np.ndarray:
        """Return the output for observations (B, ...), or for one observation."""
        if self._layers is None:
            return self._through_torch(observations)
        for parameters, name, parameter, address in self._watched:
            if parameters[name] is not parameter or parameter.data_ptr() != address:
                self._mirror()
                return self(observations)
        return _dense.forward(self._layers, np.asarray(observations, self._dtype))

    def _through_torch(self, observations: Any) -> np.ndarray:
        parameter = next(self._module.parameters(), None)
        device = parameter.device if parameter is not None else None
        dtype = parameter.dtype if parameter is not None else torch.float32
        with torch.inference_mode():
            batch = torch.as_tensor(np.asarray(observations), device=device).to(dtype)
            return self._module(batch).cpu().numpy()

    def _mirror(self) -> None:
        """Build the numpy layers, or none where the module is not a dense stack on the CPU."""
        self._layers, self._watched = None, []
        modules = _flatten(self._module)
        if modules is None or not isinstance(modules[0], nn.Linear):
            return
        layers: list[_dense.type_of_layer] = []
        for module in modules:
            kind = type(module)
            if kind in _ACTIVATIONS:
                layers.append(_ACTIVATIONS[kind])
            elif kind is nn.Linear:
                bias = None if module.bias is None else self._view(module, "bias")
                layers.append(_dense.Affine(self._view(module, "weight").T, bias))
            elif kind is LogStd:
                layers.append(_dense.AppendLogStd(self._view(module, "log_std")))
            elif kind not in _IDENTITIES:
                return
        if any(p.device.type != "cpu" or p.dtype not in (torch.float32, torch.float64) for *_, p, _ in self._watched):
            return
        self._dtype = layers[0].kernel.dtype  # type: ignore[attr-defined]
        self._layers = layers

    def _view(self, module: nn.Module, name: str) -> np.ndarray:
        parameter = getattr(module, name)
        self._watched.append((module._parameters, name, parameter, parameter.data_ptr()))
        return parameter.detach().numpy() if parameter.device.type == "cpu" else np.empty(0)


def _flatten(module: nn.Module) -> list[nn.Module] | None:
    """Return the layers of a (nested) plain `nn.Sequential` in order, None if it is anything else or has hooks."""
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    if type(module) is not nn.Sequential:
        return [module]
    layers: list[nn.Module] = []
    for child in module:
        inner = _flatten(child)
        if inner is None:
            return None
        layers += inner
    return layers or None
