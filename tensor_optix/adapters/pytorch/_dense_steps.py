"""The update steps of dense stacks without PyTorch's operations, which cost a small network most of its time.

Nothing is compiled, so the first window is as fast as the last. What can be trained so: plain stacks of linear layers
and activations in float32 on the CPU, by a plain Adam, on a loss in the functions that `_tape` knows. Whether that is
so, the first step shows: its gradients are compared with PyTorch's own before anything is changed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch

from tensor_optix.adapters.backend import TARGET_RATE
from tensor_optix.adapters.pytorch._adam import AdamState, VectorAdam
from tensor_optix.adapters.pytorch._arrays import as_rows
from tensor_optix.adapters.pytorch._dense_layers import LogAlpha, Stack, layers_of, model_of
from tensor_optix.adapters.pytorch._dense_memory import Gradients, Memory, UnsupportedError
from tensor_optix.adapters.pytorch._recording import Recorded, Recording, bare
from tensor_optix.adapters.pytorch._tape import Tape, Taped
from tensor_optix.adapters.pytorch._trained import Trained

_TOLERANCE = 1e-3
"""Largest difference from PyTorch's own gradient, as a share of its norm: both round, in another order."""

_RECORDED_FROM = 4
"""Steps in a row for which the first one is recorded, which takes as long as two."""


class _Scalars(Mapping[str, float]):
    """Scalars that know which of them were asked for."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = values
        self.used: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        self.used[name] = self._values[name]
        return self.used[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class DenseObjective:
    """One objective on weights in memory.

    Args:
        trained: the objective with the weights that it trains.
        memory: gets those, and its lagged copies.

    Raises:
        UnsupportedError: a model that is no dense stack; weights elsewhere, in another precision, of another objective,
            too, or that have not made as many steps as the others; lagged copies of some weights only.
    """

    def __init__(self, trained: Trained, memory: Memory) -> None:
        states = trained.objective.optimizer.state
        steps = {float(states[p]["step"]) if states.get(p) else 0.0 for p in trained.parameters}
        is_partial = trained.targets and [t.shape for t in trained.targets] != [p.shape for p in trained.parameters]
        if is_partial or len(steps) > 1:
            raise UnsupportedError
        self._trained, self._objective = trained, trained.objective
        self._own = [layers_of(model) for model in trained.objective.models]
        self._read = [layers_of(model) for model in trained.objective.reads]
        self._weights, self._lagged = memory.hold(trained.parameters), memory.hold(trained.targets)
        self._gradients, self._tape = Gradients(trained.parameters), Tape()
        self._models: list[Stack | LogAlpha] = []
        self._recording: Recording | None = None
        self._used: Mapping[str, float] = {}
        """What is constant in the recording."""
        self._metrics: Mapping[str, object] = {}

    def bind(self, memory: Memory) -> None:
        """Build its models, now that all weights are in memory."""
        own = [model_of(layers, memory, self._gradients, self._tape) for layers in self._own]
        self._models = [*own, *(model_of(layers, memory, self._gradients, None) for layers in self._read)]

    def loss(self, batch: Mapping[str, np.ndarray], scalars: Mapping[str, float]) -> dict[str, float]:
        """Compute the gradients of the loss on a minibatch; return its metrics."""
        return _as_floats(self._computed({name: Taped(array) for name, array in batch.items()}, scalars))

    def replayed(self, batch: Mapping[str, np.ndarray], scalars: Mapping[str, float]) -> dict[str, float]:
        """Do the same for one minibatch after the other in the same arrays, with fewer calls of Python."""
        if self._recording is None:
            recording, asked = Recording(), _Scalars(scalars)
            self._metrics = self._computed({n: Taped(Recorded(array, recording)) for n, array in batch.items()}, asked)
            self._recording, self._used = recording, asked.used
        elif any(scalars[name] != value for name, value in self._used.items()):
            return self.loss(batch, scalars)
        else:
            self._recording.replay()
        return _as_floats(self._metrics)

    def _computed(self, batch: Mapping[str, Taped], scalars: Mapping[str, float]) -> dict[str, object]:
        loss, metrics = self._objective.loss(self._models, batch, scalars)
        self._tape.play_back(loss)
        self._tape.clear()
        self._gradients.finish()
        return {name: bare(value.array) if type(value) is Taped else value for name, value in metrics.items()}

    def agrees(self, batch: Mapping[str, torch.Tensor], scalars: Mapping[str, torch.Tensor]) -> bool:
        """Return whether the gradients are those that PyTorch computes."""
        loss, _ = self._objective.loss(self._trained.callables, batch, scalars)
        parameters = self._trained.parameters
        expected = torch.autograd.grad(loss, parameters, allow_unused=True)
        if any(gradient is None for gradient in expected):
            return False
        theirs = torch.cat([gradient.reshape(-1) for gradient in expected]).numpy()
        return bool(np.abs(self._gradients.flat - theirs).max() <= _TOLERANCE * np.linalg.norm(theirs))

    def adam(self) -> VectorAdam:
        """Return its optimizer."""
        return VectorAdam(AdamState(self._objective.optimizer, self._trained.parameters), self._weights)

    def step(self, adam: VectorAdam, metrics: dict[str, float], scalars: Mapping[str, float]) -> dict[str, float]:
        """Make one step down the gradients of the last minibatch, in place; add their norm to its metrics."""
        flat = self._gradients.flat
        norm = math.sqrt(float(flat @ flat))
        if self._objective.max_grad_norm is not None:
            excess = (norm + 1e-6) / scalars[self._objective.max_grad_norm]
            if excess > 1.0:
                flat /= np.float32(excess)
        adam.apply(flat)
        if self._lagged.size and scalars[TARGET_RATE]:
            torch.from_numpy(self._lagged).lerp_(torch.from_numpy(self._weights), scalars[TARGET_RATE])
        return {**metrics, self._objective.grad_norm: norm}


class DenseSteps:
    """The update steps of objectives, on their weights as they are now.

    Args:
        trained: each objective with the weights that it trains.

    Raises:
        UnsupportedError: see `DenseObjective`, or an optimizer that is no plain Adam over these weights.
    """

    def __init__(self, trained: Sequence[Trained]) -> None:
        if not all(each.is_basic_adam and each.parameters for each in trained):
            raise UnsupportedError
        self._memory = Memory()
        self._objectives = [DenseObjective(each, self._memory) for each in trained]
        for objective in self._objectives:
            objective.bind(self._memory)

    def agree(
        self,
        block: Mapping[str, torch.Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
        columns: Mapping[str, int] = MappingProxyType({}),
    ) -> bool:
        """Return whether all gradients on the first minibatch are those that PyTorch computes; nothing is changed.

        Args:
            block: minibatches (K, B, ...).
            scalars: of all steps.
            per_step: (K,) of each step.
            columns: how many the one-hot rows have that are in the block as the places of their ones.
        """
        first = {name: tensor[0] for name, tensor in block.items()}
        arrays = {name: tensor.numpy() for name, tensor in first.items()}
        batch = as_rows(first, columns)
        scalars = {**scalars, **{name: float(values[0]) for name, values in per_step.items()}}
        try:
            for objective in self._objectives:
                metrics = objective.loss(arrays, scalars)
                if not objective.agrees(batch, {name: torch.tensor(value) for name, value in scalars.items()}):
                    return False
                scalars |= metrics
        except (TypeError, AttributeError, ValueError, IndexError):  # what the tape does not know
            return False
        return True

    def __call__(
        self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float], per_step: Mapping[str, np.ndarray]
    ) -> dict[str, torch.Tensor]:
        """Make a step of each objective on each of K minibatches (K, B, ...); return each metric (K,)."""
        arrays = {name: tensor.numpy() for name, tensor in block.items()}
        n_steps = len(next(iter(arrays.values())))
        compute = DenseObjective.loss if n_steps < _RECORDED_FROM else DenseObjective.replayed
        batch = {name: np.empty_like(array[0]) for name, array in arrays.items()}
        adams, metrics = [objective.adam() for objective in self._objectives], []
        try:
            for k in range(n_steps):
                for name, array in arrays.items():
                    batch[name][...] = array[k]
                found = {**scalars, **{name: float(values[k]) for name, values in per_step.items()}}
                of_step: dict[str, float] = {}
                for objective, adam in zip(self._objectives, adams, strict=True):
                    of_objective = compute(objective, batch, {**found, **of_step})
                    of_step |= objective.step(adam, of_objective, found)
                metrics.append(of_step)
        finally:  # also the steps before one that failed
            self._memory.write_back()
            for adam in adams:
                adam.write_back()
        return {name: torch.tensor([of_step[name] for of_step in metrics]) for name in metrics[0]}


def _as_floats(metrics: Mapping[str, object]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}  # type: ignore[arg-type]
