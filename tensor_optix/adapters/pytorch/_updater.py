"""The update steps of a window in PyTorch: a tight eager loop, and the same as one compiled graph of several steps."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch._adam import AdamState, fused_adam_works, is_plain_adam
from tensor_optix.adapters.pytorch._compiled import CompiledSteps

logger = logging.getLogger(__name__)

_GATHER_BYTES = 256 << 20
"""Minibatches are gathered ahead in blocks of at most this size."""
COMPILE_AFTER_STEPS = 40_000
"""Eager steps after which compiling is worth its time: about what it costs. A count, so that runs repeat exactly."""


class TorchUpdater:
    """Trains an objective, one optimizer step per minibatch.

    Args:
        objective: what to train.
        compile: True compiles at once, False never, None after `COMPILE_AFTER_STEPS` steps where a compiler is present.
    """

    def __init__(self, objective: Objective, compile: bool | None) -> None:
        self._objective = objective
        # Models may share layers: each weight counts once.
        self._parameters = list(
            dict.fromkeys(p for model in objective.models for p in model.parameters() if p.requires_grad)
        )
        self._fused = is_plain_adam(objective.optimizer, self._parameters) and fused_adam_works()
        self._compiled: CompiledSteps | None = None
        can_compile = is_plain_adam(objective.optimizer, self._parameters) and shutil.which("g++") is not None
        self._compile_after = 0 if compile else COMPILE_AFTER_STEPS
        self._may_compile = can_compile if compile is None else compile
        self._steps_made = 0

    @property
    def is_compiled(self) -> bool:
        """True once updates run through the compiled graph."""
        return self._compiled is not None and self._compiled.has_run

    def __call__(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]
    ) -> dict[str, float]:
        """Make one step per row of `rows`; see `Updater`."""
        for model in self._objective.models:
            model.train()
        try:
            metrics = []
            for block in self._blocks(data, rows):
                metrics += self._train_on(block, scalars)
        finally:
            for model in self._objective.models:
                model.eval()
        self._steps_made += len(rows)
        means = {name: torch.cat([m[name].reshape(-1) for m in metrics]).mean() for name in metrics[0]}
        return {name: float(value) for name, value in means.items()}

    def _blocks(self, data: Mapping[str, np.ndarray], rows: np.ndarray) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the minibatches, stacked (K, B, ...), in blocks of bounded size."""
        device, dtype = self._parameters[0].device, self._parameters[0].dtype
        tensors = {}
        for name, array in data.items():
            tensor = torch.from_numpy(np.ascontiguousarray(array)).to(device)
            is_index = name == "actions" and not tensor.is_floating_point()
            tensors[name] = tensor.long() if is_index else tensor
        row_bytes = sum(tensor[0].numel() * tensor.element_size() for tensor in tensors.values())
        per_block = max(1, _GATHER_BYTES // (row_bytes * rows.shape[1]))
        for start in range(0, len(rows), per_block):
            index = torch.from_numpy(rows[start : start + per_block]).to(device)
            gathered = {name: tensor[index] for name, tensor in tensors.items()}
            yield {n: t if n == "actions" and not t.is_floating_point() else t.to(dtype) for n, t in gathered.items()}

    def _train_on(self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float]) -> list[dict[str, Any]]:
        done, metrics = 0, []
        if self._may_compile and self._steps_made >= self._compile_after:
            done, metrics = self._compiled_steps(block, scalars)
        size = len(next(iter(block.values())))
        return metrics + [self._step({n: t[k] for n, t in block.items()}, scalars) for k in range(done, size)]

    def _compiled_steps(
        self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float]
    ) -> tuple[int, list[dict[str, Any]]]:
        """Make as many steps as the compiled graph takes; on failure none, once and for all."""
        compiled = self._compiled
        try:
            compiled = self._compiled = compiled or CompiledSteps(self._objective, self._parameters)
            return compiled(block, scalars)
        except Exception as error:
            if compiled is not None and compiled.has_run:
                raise
            # A graph that cannot be compiled raises before it has changed anything: the eager loop does the same steps.
            logger.warning("The update runs uncompiled: %s", " ".join(str(error).split())[:300])
            self._compiled, self._may_compile = None, False
            return 0, []

    def _step(self, batch: Mapping[str, torch.Tensor], scalars: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        objective = self._objective
        loss, metrics = objective.loss(objective.models, batch, scalars)
        bound = None if objective.max_grad_norm is None else scalars[objective.max_grad_norm]
        metrics["grad_norm"] = self.apply_gradients(loss, bound)
        return {name: value.detach() for name, value in metrics.items()}

    def apply_gradients(self, loss: torch.Tensor, max_grad_norm: float | None) -> torch.Tensor:
        """Make one optimizer step down the gradient of `loss`, bounded in its global norm; return the norm before."""
        parameters = self._parameters
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        used = gradients if all(g is not None for g in gradients) else [g for g in gradients if g is not None]
        norm = global_norm(used)
        if self._fused and len(used) == len(parameters):
            scale = None if max_grad_norm is None else torch.clamp((norm + 1e-6) / max_grad_norm, min=1.0)
            with torch.no_grad():
                AdamState(self._objective.optimizer, parameters).apply(parameters, gradients, scale)
            return norm
        if max_grad_norm is not None:
            factor = torch.clamp(max_grad_norm / (norm + 1e-6), max=1.0)
            torch._foreach_mul_(list(used), factor)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self._objective.optimizer.step()
        return norm


def global_norm(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the Euclidean norm of all entries of all gradients."""
    norms: Callable[..., Any] = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack(norms(list(gradients))))
