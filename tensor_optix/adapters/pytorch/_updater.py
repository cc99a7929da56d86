"""The update steps of a window in PyTorch: dense stacks in numpy; others in a tight loop, or as one compiled graph."""

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from tensor_optix.adapters._one_hot import with_places
from tensor_optix.adapters.backend import ACTIONS, Objective, Tensor, is_mask
from tensor_optix.adapters.pytorch._arrays import (
    as_rows,
    denormals_flushed,
    input_dtype,
    loss_dtype,
    threads_of_pytorch_alone,
)
from tensor_optix.adapters.pytorch._compiled import CompiledSteps, ProgramChoice
from tensor_optix.adapters.pytorch._dense_memory import UnsupportedError
from tensor_optix.adapters.pytorch._dense_steps import DenseSteps
from tensor_optix.adapters.pytorch._randomness import TorchRandomness
from tensor_optix.adapters.pytorch._trained import Trained
from tensor_optix.adapters.pytorch._unsaved import Unsaved

logger = logging.getLogger(__name__)

_GATHER_BYTES = 256 << 20
"""Minibatches are gathered ahead in blocks of at most this size."""
COMPILE_AFTER_STEPS = 40_000
"""Steps of the optimizer after which compiling is worth its time: about what it costs. A count, and one that is saved,
so that runs repeat exactly, also those that were resumed."""


class TorchUpdater:
    """Trains one objective or several, one optimizer step each per minibatch.

    Args:
        objectives: what to train, in this order within each step.
        compile: True compiles at once, False never, None after `COMPILE_AFTER_STEPS` steps where the models are no
            dense stacks and a compiler is present.
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
        self._has_looked = False

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
        data, columns = self._with_places(data)
        return self._train(self._gathered(data, rows, columns), scalars, {}, columns)

    def on_batches(
        self,
        batches: Mapping[str, Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Make one step per minibatch of `batches`; see `Updater`."""
        batches, columns = self._with_places(batches)
        return self._train(self._stacked(batches, columns), scalars, per_step or {}, columns)

    def _train(
        self,
        blocks: Iterator[dict[str, torch.Tensor]],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
        columns: Mapping[str, int],
    ) -> dict[str, float]:
        changed = [trained.refresh() for trained in self._trained]
        if any(changed):
            self._choice.reopen()
            self._may_compile = self._can_compile() if self._compile is None else self._compile
        may_compile = self._may_compile and self._choice.layout != ProgramChoice.NONE
        self._is_time_to_compile = may_compile and self._steps_made() >= self._compile_after
        unsaved = None if self._has_looked else Unsaved(self._models)
        for model in self._models:
            model.train()
        metrics: list[dict[str, torch.Tensor]] = []
        try:
            start = 0
            with denormals_flushed(), self._randomness:
                for block in blocks:
                    size = len(next(iter(block.values())))
                    own = {name: np.asarray(v, np.float64)[start : start + size] for name, v in per_step.items()}
                    made = self._dense_steps(block, scalars, own, columns)
                    metrics += made or self._train_on(as_rows(block, columns), size, scalars, own)
                    start += size
        finally:
            for model in self._models:
                model.eval()
        if unsaved is not None:
            self._has_looked = True
            unsaved.compare()
        means = {name: torch.cat([m[name].reshape(-1) for m in metrics]).mean() for name in metrics[0]}
        return {name: float(value) for name, value in means.items()}

    def _with_places(self, data: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Mapping[str, int]]:
        """Return the data with one-hot rows as the places of their ones, and how many columns those had.

        Only where steps are made in numpy, which then gathers weights instead of multiplying by zeros.
        """
        is_elsewhere = self._device.type != "cpu" or self._dtype is not torch.float32
        if self._compile or self._choice.is_dense is False or is_elsewhere:
            return data, {}
        inputs = [name for name in data if all(name in trained.objective.inputs for trained in self._trained)]
        return with_places(data, inputs)

    def _dense_steps(
        self,
        block: Mapping[str, torch.Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
        columns: Mapping[str, int],
    ) -> list[dict[str, torch.Tensor]]:
        """Make all steps in numpy; none where models, loss or the program chosen before ask for another way."""
        if self._compile or self._choice.is_dense is False:
            return []
        try:
            steps = DenseSteps(self._trained)
        except UnsupportedError:
            return []
        if self._choice.is_dense is None:
            self._choice.settle_steps(steps.agree(block, scalars, per_step, columns))
            if not self._choice.is_dense:
                return []
        with threads_of_pytorch_alone():
            return [steps(block, scalars, per_step)]

    def _gathered(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, columns: Mapping[str, int]
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the minibatches, stacked (K, B, ...), in blocks of bounded size."""
        tensors = {name: self._as_tensor(array) for name, array in data.items()}
        per_block = self._steps_per_block(tensors, rows.shape[1], columns)
        for start in range(0, len(rows), per_block):
            index = torch.from_numpy(rows[start : start + per_block]).to(self._device)
            yield {name: self._as_number(name, tensor[index], columns) for name, tensor in tensors.items()}

    def _stacked(self, batches: Mapping[str, Tensor], columns: Mapping[str, int]) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the minibatches as they are, in blocks of bounded size."""
        tensors = {name: self._as_tensor(array) for name, array in batches.items()}
        first = next(iter(tensors.values()))
        of_one = {name: tensor[0] for name, tensor in tensors.items()}
        per_block = self._steps_per_block(of_one, first.shape[1], columns)
        for start in range(0, len(first), per_block):
            stop = start + per_block
            yield {name: self._as_number(name, tensor[start:stop], columns) for name, tensor in tensors.items()}

    def _steps_per_block(self, rows: Mapping[str, torch.Tensor], batch_size: int, columns: Mapping[str, int]) -> int:
        row_bytes = sum(
            columns.get(name, tensor[0].numel()) * max(self._dtype.itemsize, tensor.element_size())
            for name, tensor in rows.items()
        )
        return max(1, _GATHER_BYTES // (row_bytes * batch_size))

    def _as_tensor(self, array: Tensor) -> torch.Tensor:
        tensor = array if isinstance(array, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self._device)

    def _as_number(self, name: str, tensor: torch.Tensor, columns: Mapping[str, int]) -> torch.Tensor:
        """Discrete actions become indices, masks and places stay, everything else becomes what losses compute in."""
        if is_mask(name) or name in columns:
            return tensor
        is_index = name == ACTIONS and not tensor.is_floating_point()
        return tensor.long() if is_index else tensor.to(self._dtype)

    def _train_on(
        self,
        block: Mapping[str, torch.Tensor],
        size: int,
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
    ) -> list[dict[str, torch.Tensor]]:
        done, metrics = 0, []
        if self._is_time_to_compile:
            done, metrics = self._compiled_steps(block, scalars, per_step)
        for k in range(done, size):
            batch = {name: tensor[k] for name, tensor in block.items()}
            metrics.append(self._step(batch, {**scalars, **{name: float(v[k]) for name, v in per_step.items()}}))
        return metrics

    def _step(self, batch: Mapping[str, torch.Tensor], scalars: Mapping[str, float]) -> dict[str, torch.Tensor]:
        metrics: dict[str, torch.Tensor] = {}
        for trained in self._trained:
            if self._has_modes:
                for model in self._models:
                    model.train(model in trained.objective.models)
            metrics |= trained.step(batch, {**scalars, **metrics})
        return metrics

    def _compiled_steps(
        self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float], per_step: Mapping[str, np.ndarray]
    ) -> tuple[int, list[dict[str, torch.Tensor]]]:
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
