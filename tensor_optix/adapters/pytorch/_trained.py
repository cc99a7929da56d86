"""One objective with the weights that it trains, and its step in PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from tensor_optix.adapters._checks import cut_off
from tensor_optix.adapters.backend import TARGET_RATE, Objective
from tensor_optix.adapters.pytorch._adam import AdamState, fused_adam_works, global_norm, is_basic_adam
from tensor_optix.adapters.pytorch._arrays import taking
from tensor_optix.adapters.pytorch._names import unwrapped
from tensor_optix.errors import ContractError


class Trained:
    """One objective with the parameters that it trains.

    Args:
        objective: the objective.
        dtype: what its loss is computed in.
    """

    def __init__(self, objective: Objective, dtype: torch.dtype = torch.float32) -> None:
        self.objective = objective
        self.callables = tuple(taking(model, dtype) for model in (*objective.models, *objective.reads))
        # Models may share layers: each weight counts once.
        self._all = list(dict.fromkeys(p for m in objective.models for p in m.parameters()))
        self.parameters: list[torch.nn.Parameter] = []
        self.is_basic_adam = self.fused = False
        self.refresh()
        self.sources = [p for m in objective.models for p in m.parameters()] if objective.lagged else []
        self.targets = [p for m in objective.lagged for p in m.parameters()]

    @property
    def bare(self) -> Objective:
        """The objective on models without wrappers, through which no graph of several steps can look."""
        kinds = {kind: [unwrapped(m) for m in getattr(self.objective, kind)] for kind in ("models", "reads", "lagged")}
        return replace(self.objective, **kinds)

    def refresh(self) -> bool:
        """Look again at what is frozen; return True if that has changed.

        Raises:
            ContractError: a weight is trainable now that the optimizer does not have.
        """
        present = [p for p in self._all if p.requires_grad]
        if [*map(id, present)] == [*map(id, self.parameters)]:
            return False
        bound = {id(p) for group in self.objective.optimizer.param_groups for p in group["params"]}
        for parameter in present:
            if id(parameter) not in bound:
                raise ContractError(
                    f"A layer is trainable now whose weight of shape {tuple(parameter.shape)} the optimizer does not "
                    f"have. Make the optimizer with all of the model's parameters: frozen ones stay as they are."
                )
        for parameter in self._all:
            parameter.grad = None  # or the optimizer would go on with that of a layer's last step
        self.parameters = present
        self.is_basic_adam = is_basic_adam(self.objective.optimizer, present)
        self.fused = self.is_basic_adam and fused_adam_works()
        return True

    def apply_gradients(self, loss: torch.Tensor, max_grad_norm: float | None) -> torch.Tensor:
        """Make one optimizer step down the gradient of `loss`, bounded in its global norm; return the norm before."""
        if not self.parameters:  # all is frozen
            return torch.zeros((), device=loss.device)
        gradients = self._gradients(loss)
        used = [g for g in gradients if g is not None]
        norm = global_norm(used)
        if self.fused and len(used) == len(self.parameters):
            scale = None if max_grad_norm is None else torch.clamp((norm + 1e-6) / max_grad_norm, min=1.0)
            with torch.no_grad():
                AdamState(self.objective.optimizer, self.parameters).apply(self.parameters, used, scale)
            return norm
        if max_grad_norm is not None:
            factor = torch.clamp(max_grad_norm / (norm + 1e-6), max=1.0)
            torch._foreach_mul_(list(used), factor)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.objective.optimizer.step()
        return norm

    def _gradients(self, loss: torch.Tensor) -> list[torch.Tensor | None]:
        """Return the gradient of each parameter, None where the loss does not depend on it.

        Raises:
            ContractError: it depends on none of a model's that is to be trained.
        """
        found: Sequence[torch.Tensor | None] = [None] * len(self.parameters)
        if loss.requires_grad:
            found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        if any(g is None for g in found):
            reached = {id(p) for p, g in zip(self.parameters, found, strict=True) if g is not None}
            for model in self.objective.models:
                trainable = [p for p in model.parameters() if p.requires_grad]
                if trainable and not any(id(p) in reached for p in trainable):
                    raise ContractError(cut_off(unwrapped(model)))
        return [g.to_dense() if g is not None and g.is_sparse else g for g in found]

    def step(self, batch: Mapping[str, torch.Tensor], scalars: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Make one step on a minibatch and return its metrics."""
        objective = self.objective
        loss, metrics = objective.loss(self.callables, batch, scalars)
        bound = None if objective.max_grad_norm is None else scalars[objective.max_grad_norm]
        metrics[objective.grad_norm] = self.apply_gradients(loss, bound)
        if self.targets and scalars[TARGET_RATE]:
            self.move_targets(scalars[TARGET_RATE])
        return {name: value.detach() for name, value in metrics.items()}

    def move_targets(self, rate: float) -> None:
        """θ_tgt ← ρ·θ + (1−ρ)·θ_tgt; running statistics of normalisation layers are taken over."""
        lerp: Callable[..., object] = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
        with torch.no_grad():
            pairs = zip(self.sources, self.targets, strict=True)
            lerp(self.targets, [source.to(target.dtype) for source, target in pairs], rate)
            for lagged, model in zip(self.objective.lagged, self.objective.models, strict=True):
                for target, source in zip(lagged.buffers(), model.buffers(), strict=True):
                    target.copy_(source)
