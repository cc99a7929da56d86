"""Adam without the overhead of `torch.optim`, on the state of the user's own `torch.optim.Adam`.

What is computed is the published update, so weights, moments and `state_dict()` are what `optimizer.step()` would have
made of them. Anything but a plain Adam over exactly the given parameters is left to `optimizer.step()`.
Source: Adam: A Method for Stochastic Optimization (Kingma and Ba, 2015).
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tensor_optix.adapters.pytorch._arrays import in_one_vector, parts_of

_fused_adam: Any = getattr(torch, "_fused_adam_", None)


def is_basic_adam(optimizer: torch.optim.Optimizer, parameters: Sequence[torch.nn.Parameter]) -> bool:
    """True if `optimizer` is Adam in its basic form, in one group over exactly these float32 CPU parameters."""
    if type(optimizer) is not torch.optim.Adam or len(optimizer.param_groups) != 1:
        return False
    group = optimizer.param_groups[0]
    options = ("amsgrad", "maximize", "differentiable", "capturable", "weight_decay", "decoupled_weight_decay")
    hooks = (getattr(optimizer, name, None) for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"))
    if any(group.get(option) for option in options) or any(hooks) or isinstance(group["lr"], torch.Tensor):
        return False
    if any(p.device.type != "cpu" or p.dtype != torch.float32 or not p.requires_grad for p in parameters):
        return False
    return len(group["params"]) == len(parameters) and {*map(id, group["params"])} == {*map(id, parameters)}


class AdamState:
    """The moments of a plain Adam over some parameters, created as `optimizer.step()` would create them."""

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: Sequence[torch.nn.Parameter]) -> None:
        self.entries: list[dict[str, Any]] = [optimizer.state[parameter] for parameter in parameters]
        for entry, parameter in zip(self.entries, parameters, strict=True):
            if not entry:
                entry["step"] = torch.tensor(0.0, dtype=torch.float32)
                entry["exp_avg"] = torch.zeros_like(parameter)
                entry["exp_avg_sq"] = torch.zeros_like(parameter)
        self.group = optimizer.param_groups[0]
        self._steps = [entry["step"] for entry in self.entries]
        self.moments = [[entry[key] for entry in self.entries] for key in ("exp_avg", "exp_avg_sq")]
        """The first and the second, each of every parameter."""

    @property
    def is_uniform(self) -> bool:
        """True if all parameters have made the same number of steps."""
        return len({float(entry["step"]) for entry in self.entries}) <= 1

    @property
    def step(self) -> torch.Tensor:
        """Number of steps made, 0-d float32."""
        return self.entries[0]["step"]

    def apply(self, parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor], grad_scale: object) -> None:
        """Make one step in place, the gradients divided by `grad_scale` (None: as they are)."""
        torch._foreach_add_(self._steps, 1)  # pyright: ignore[reportPrivateImportUsage]
        gradients = [_laid_out(g, p) for g, p in zip(gradients, parameters, strict=True)]
        _step_fused(self.group, parameters, gradients, self.moments, self._steps, grad_scale)


def _step_fused(
    group: Mapping[str, Any],
    parameters: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    moments: Sequence[Sequence[torch.Tensor]],
    steps: list[torch.Tensor],
    grad_scale: object = None,
) -> None:
    beta1, beta2 = group["betas"]
    _fused_adam(
        parameters,
        gradients,
        *moments,
        [],
        steps,
        lr=float(group["lr"]),
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
        grad_scale=grad_scale,
    )


def _laid_out(gradient: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return a gradient with the strides of its parameter, by which the fused kernel reads it.

    A convolution's follow those of its input: pictures with their channels last give others than the weights have.
    """
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)


class VectorAdam:
    """A plain Adam over weights in one vector: one pass of the fused kernel in place of one on each weight.

    m ← β₁·m + (1−β₁)·g,  v ← β₂·v + (1−β₂)·g²,  w ← w − lr/(1−β₁ᵗ)·m/(√v/√(1−β₂ᵗ) + ε)

    Args:
        state: the moments, which it starts from.
        weights: (n,) float32, changed in place by each step.
    """

    def __init__(self, state: AdamState, weights: np.ndarray) -> None:
        self._state, self._weights = state, weights
        self._first, self._second = (in_one_vector(moments) for moments in state.moments)
        self._step = state.step.detach().clone()
        self._vectors = [torch.from_numpy(vector) for vector in (weights, self._first, self._second)]

    def apply(self, gradient: np.ndarray) -> None:
        """Make one step down the gradient (n,)."""
        self._step += 1
        if fused_adam_works():
            weights, first, second = self._vectors
            _step_fused(self._state.group, [weights], [torch.from_numpy(gradient)], [[first], [second]], [self._step])
        else:
            self._apply_in_numpy(gradient)

    def _apply_in_numpy(self, gradient: np.ndarray) -> None:
        first, second, scratch, group = self._first, self._second, np.empty_like(gradient), self._state.group
        (beta1, beta2), t = group["betas"], int(self._step)
        np.subtract(gradient, first, out=scratch)
        scratch *= 1.0 - beta1
        first += scratch
        second *= beta2
        np.multiply(gradient, gradient, out=scratch)
        scratch *= 1.0 - beta2
        second += scratch
        np.sqrt(second, out=scratch)
        scratch /= math.sqrt(1.0 - beta2**t)
        scratch += group["eps"]
        np.divide(first, scratch, out=scratch)
        scratch *= float(group["lr"]) / (1.0 - beta1**t)
        self._weights -= scratch

    def write_back(self) -> None:
        """Give the state the moments as they are now."""
        for vector, tensors in zip((self._first, self._second), self._state.moments, strict=True):
            for part, tensor in zip(parts_of(vector, tensors), tensors, strict=True):
                tensor.numpy()[...] = part
        for entry in self._state.entries:
            entry["step"].copy_(self._step)


@functools.cache
def fused_adam_works() -> bool:
    """True if this PyTorch has the fused Adam kernel for the CPU (2.4 and later)."""
    try:
        p, g, m, v, step = (torch.zeros(1) for _ in range(5))
        _fused_adam(
            [p], [g], [m], [v], [], [step + 1],
            lr=0.1, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
            grad_scale=torch.ones(()),
        )  # fmt: skip
    except (RuntimeError, TypeError, NotImplementedError):
        return False
    return True


def global_norm(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the Euclidean norm of all entries of all gradients."""
    norms: Callable[..., object] = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack(norms(list(gradients))))
