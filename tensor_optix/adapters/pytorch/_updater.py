"""The update steps of a window in PyTorch: a tight eager loop, and the same as one compiled graph of several steps."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tensor_optix.adapters.backend import ACTIONS, TARGET_RATE, Objective, is_mask
from tensor_optix.adapters.pytorch._adam import AdamState, fused_adam_works, global_norm, is_basic_adam
from tensor_optix.adapters.pytorch._arrays import denormals_flushed, input_dtype, loss_dtype, taking
from tensor_optix.adapters.pytorch._compiled import CompiledSteps, ProgramChoice
from tensor_optix.adapters.pytorch._names import unwrapped
from tensor_optix.adapters.pytorch._randomness import TorchRandomness
from tensor_optix.errors import ContractError

logger = logging.getLogger(__name__)

_GATHER_BYTES = 256 << 20
"""Minibatches are gathered ahead in blocks of at most this size."""
COMPILE_AFTER_STEPS = 40_000
"""Steps of the optimizer after which compiling is worth its time: about what it costs. A count, and one that is saved,
so that runs repeat exactly, also those that were resumed."""


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
        gradients = [
            g.to_dense() if g is not None and g.is_sparse else g
            for g in torch.autograd.grad(loss, self.parameters, allow_unused=True)
        ]
        used = gradients if all(g is not None for g in gradients) else [g for g in gradients if g is not None]
        norm = global_norm(used)
        if self.fused and len(used) == len(self.parameters):
            scale = None if max_grad_norm is None else torch.clamp((norm + 1e-6) / max_grad_norm, min=1.0)
            with torch.no_grad():
                AdamState(self.objective.optimizer, self.parameters).apply(self.parameters, gradients, scale)
            return norm
        if max_grad_norm is not None:
            factor = torch.clamp(max_grad_norm / (norm + 1e-6), max=1.0)
            torch._foreach_mul_(list(used), factor)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.objective.optimizer.step()
        return norm

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


class TorchUpdater:
    """Trains one objective or several, one optimizer step each per minibatch.

    Args:
        objectives: what to train, in this order within each step.
        compile: True compiles at once, False never, None after `COMPILE_AFTER_STEPS` steps where a compiler is present.
        randomness: what the models draw from; None: from the process's generators.
        choice: which program it compiles; None: that for what comes first.
    """

    def __init__(
        self,
        objectives: Objective | Sequence[Objective],
        compile: bool | None,
        randomness: TorchRandomness | None = None,
        choice: ProgramChoice | None = None,
    ) -> None:
        listed = [objectives] if isinstance(objectives, Objective) else list(objectives)
        self._randomness = randomness or contextlib.nullcontext()
        self._dtype = loss_dtype([model for objective in listed for model in objective.models])
        self._trained = [Trained(objective, self._dtype) for objective in listed]
        self._models = list(dict.fromkeys(model for objective in listed for model in objective.models))
        # Only with several objectives is there a model that one trains and another only calls.
        self._has_modes = len(listed) > 1 and any(_has_mode(model) for model in self._models)
        self._device = next(self._models[0].parameters()).device
        self._compiled: CompiledSteps | None = None
        self._choice = choice or ProgramChoice({}, "update")
        self._compile = compile
        self._compile_after = 0 if compile else COMPILE_AFTER_STEPS
        self._may_compile = self._can_compile() if compile is None else compile
        self._is_time_to_compile = False

    def _can_compile(self) -> bool:
        called = [model for t in self._trained for model in (*t.objective.models, *t.objective.reads)]
        are_basic = all(trained.is_basic_adam for trained in self._trained)
        are_float32 = all(input_dtype(model) is torch.float32 for model in called)
        return are_basic and are_float32 and not self._has_modes and shutil.which("g++") is not None

    def _steps_made(self) -> int:
        """Return the optimizer's own count of steps: it is part of what is saved, so a resumed run compiles as soon."""
        states = self._trained[0].objective.optimizer.state.values()
        return max((int(state["step"]) for state in states if "step" in state), default=0)

    @property
    def is_compiled(self) -> bool:
        """True once updates run through the compiled graph."""
        return self._compiled is not None and self._compiled.has_run

    def __call__(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]
    ) -> dict[str, float]:
        """Make one step per row of `rows`; see `Updater`."""
        return self._train(self._gathered(data, rows), scalars, {})

    def on_batches(
        self,
        batches: Mapping[str, np.ndarray],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Make one step per minibatch of `batches`; see `Updater`."""
        return self._train(self._stacked(batches), scalars, per_step or {})

    def _train(
        self,
        blocks: Iterator[dict[str, torch.Tensor]],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
    ) -> dict[str, float]:
        changed = [trained.refresh() for trained in self._trained]
        if any(changed):
            self._choice.reopen()
            self._may_compile = self._can_compile() if self._compile is None else self._compile
        may_compile = self._may_compile and self._choice.layout != ProgramChoice.NONE
        self._is_time_to_compile = may_compile and self._steps_made() >= self._compile_after
        for model in self._models:
            model.train()
        metrics: list[dict[str, Any]] = []
        try:
            start = 0
            with denormals_flushed(), self._randomness:
                for block in blocks:
                    size = len(next(iter(block.values())))
                    own = {name: np.asarray(v, np.float64)[start : start + size] for name, v in per_step.items()}
                    metrics += self._train_on(block, size, scalars, own)
                    start += size
        finally:
            for model in self._models:
                model.eval()
        means = {name: torch.cat([m[name].reshape(-1) for m in metrics]).mean() for name in metrics[0]}
        return {name: float(value) for name, value in means.items()}

    def _gathered(self, data: Mapping[str, np.ndarray], rows: np.ndarray) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the minibatches, stacked (K, B, ...), in blocks of bounded size."""
        tensors = {name: self._as_tensor(array) for name, array in data.items()}
        per_block = self._steps_per_block(tensors, rows.shape[1])
        for start in range(0, len(rows), per_block):
            index = torch.from_numpy(rows[start : start + per_block]).to(self._device)
            yield {name: self._as_number(name, tensor[index]) for name, tensor in tensors.items()}

    def _stacked(self, batches: Mapping[str, np.ndarray]) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the minibatches as they are, in blocks of bounded size."""
        tensors = {name: self._as_tensor(array) for name, array in batches.items()}
        first = next(iter(tensors.values()))
        per_block = self._steps_per_block({name: tensor[0] for name, tensor in tensors.items()}, first.shape[1])
        for start in range(0, len(first), per_block):
            stop = start + per_block
            yield {name: self._as_number(name, tensor[start:stop]) for name, tensor in tensors.items()}

    def _steps_per_block(self, rows: Mapping[str, torch.Tensor], batch_size: int) -> int:
        row_bytes = sum(
            tensor[0].numel() * max(self._dtype.itemsize, tensor.element_size()) for tensor in rows.values()
        )
        return max(1, _GATHER_BYTES // (row_bytes * batch_size))

    def _as_tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _as_number(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Discrete actions become indices, masks stay masks, everything else becomes what losses are computed in."""
        if is_mask(name):
            return tensor
        is_index = name == ACTIONS and not tensor.is_floating_point()
        return tensor.long() if is_index else tensor.to(self._dtype)

    def _train_on(
        self,
        block: Mapping[str, torch.Tensor],
        size: int,
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
    ) -> list[dict[str, Any]]:
        done, metrics = 0, []
        if self._is_time_to_compile:
            done, metrics = self._compiled_steps(block, scalars, per_step)
        for k in range(done, size):
            batch = {name: tensor[k] for name, tensor in block.items()}
            metrics.append(self._step(batch, {**scalars, **{name: float(v[k]) for name, v in per_step.items()}}))
        return metrics

    def _step(self, batch: Mapping[str, torch.Tensor], scalars: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        metrics: dict[str, torch.Tensor] = {}
        for trained in self._trained:
            if self._has_modes:
                for model in self._models:
                    model.train(model in trained.objective.models)
            metrics |= trained.step(batch, {**scalars, **metrics})
        return metrics

    def _compiled_steps(
        self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float], per_step: Mapping[str, np.ndarray]
    ) -> tuple[int, list[dict[str, Any]]]:
        """Make as many steps as the compiled graph takes; on failure none, once and for all."""
        compiled = self._compiled
        try:
            if compiled is None or compiled.layout != self._choice.layout:
                trained = [(t.bare, t.parameters) for t in self._trained]
                compiled = self._compiled = CompiledSteps(trained, self._choice.layout)
            made = compiled(block, scalars, per_step)
            if compiled.layout is not None:
                self._choice.settle(compiled.layout)
            return made
        except Exception as error:
            if compiled is not None and compiled.has_run:
                raise
            # A graph that cannot be compiled raises before it has changed anything: the eager loop does the same steps.
            logger.warning("The update runs uncompiled: %s", " ".join(str(error).split())[:300])
            self._compiled = None
            self._choice.settle(ProgramChoice.NONE)
            return 0, []


def _has_mode(model: torch.nn.Module) -> bool:
    """True if the model does something else in training than in evaluation."""
    kinds = (torch.nn.modules.batchnorm._NormBase, torch.nn.modules.dropout._DropoutNd)
    return any(isinstance(module, kinds) for module in model.modules())
