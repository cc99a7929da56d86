"""Forward, backward, clipping and Adam of several minibatches as one graph through `torch.compile`.

For the length of a block, the weights and moments of each objective are in flat vectors: the graph then has a handful
of inputs in place of dozens, which is most of a small network's time. They are written back in place at the end, also
after an error. All hyper-parameters are one tensor input, so that changing them compiles nothing again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch._adam import AdamState, is_basic_adam
from tensor_optix.adapters.pytorch._arrays import on_copies
from tensor_optix.adapters.pytorch._program import Group, Parameters, Program
from tensor_optix.errors import InvalidArgumentError

UNROLLED = 4
"""Minibatches per call: the cost of a call is shared, the time to compile still bearable."""


class ProgramChoice:
    """Which program makes an updater's steps: numpy or PyTorch, and which one is compiled.

    A run that is resumed has to take the same ones: another gives other last digits.

    Args:
        programs: where the choices of all updaters of an agent are, which is saved with it.
        key: of this updater.
    """

    NONE = ""
    """In the place of a layout: the program could not be compiled."""
    _WORDS = {True: "numpy", False: "framework"}  # noqa: RUF012 - a constant

    def __init__(self, programs: dict[str, str], key: str) -> None:
        self._programs, self._key, self._steps_key = programs, key, f"{key}.steps"

    @property
    def is_dense(self) -> bool | None:
        """Whether the steps are made in numpy, see `DenseSteps`; None before the first."""
        word = self._programs.get(self._steps_key)
        return None if word is None else word == self._WORDS[True]

    def settle_steps(self, is_dense: bool) -> None:
        """Choose numpy or PyTorch."""
        self._programs[self._steps_key] = self._WORDS[is_dense]

    @property
    def layout(self) -> str | None:
        """The layout that is compiled for: that of the first minibatches; None before those."""
        return self._programs.get(self._key)

    def settle(self, layout: str) -> None:
        """Choose a layout, or `NONE`."""
        self._programs[self._key] = layout

    def reopen(self) -> None:
        """Let the next minibatches be the first."""
        self._programs.pop(self._key, None)
        self._programs.pop(self._steps_key, None)


class CompiledSteps:
    """The update steps of objectives, some at a time.

    Args:
        trained: each objective with the weights it trains; its optimizer must be a plain `torch.optim.Adam`.
        layout: of the minibatches that it is for; None: of the first that come.
    """

    def __init__(self, trained: Sequence[tuple[Objective, Parameters]], layout: str | None = None) -> None:
        if not all(is_basic_adam(objective.optimizer, parameters) for objective, parameters in trained):
            raise InvalidArgumentError(
                "only a plain torch.optim.Adam over exactly the models' float32 weights compiles"
            )
        homes = [id(p) for _, parameters in trained for p in parameters]
        if len(set(homes)) < len(homes):
            raise InvalidArgumentError("weights that several objectives train do not compile")
        self._groups = [Group(objective, parameters) for objective, parameters in trained]
        # Several objectives make a graph that is large as it is, and a step long enough to be worth its call.
        self._unrolled = UNROLLED if len(self._groups) == 1 else 1
        self._names: list[str] = []
        self._metric_names: list[str] = []
        self._last_fit: object = None
        self.layout = layout
        """The minibatches that it is for; None before it has seen any."""
        self._step: Any = None
        self.has_run = False
        """True once a group of steps went through: what fails later is an error, not a lack of support."""

    def __call__(
        self,
        block: Mapping[str, torch.Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[int, list[dict[str, torch.Tensor]]]:
        """Make the steps of whole chunks of minibatches; return how many, and the metrics of each chunk."""
        per_step = per_step or {}
        adams = [AdamState(group.objective.optimizer, group.parameters) for group in self._groups]
        n_steps = len(next(iter(block.values())))
        n_chunks = n_steps // self._unrolled
        if not n_chunks or not self._fits(block, scalars, per_step, adams):
            return 0, []
        if self._step is None:
            self._compile(block, scalars, per_step, adams)
        states = [group.gather(adam) for group, adam in zip(self._groups, adams, strict=True)]
        try:
            metrics = self._run(n_chunks, states, block, *self._inputs(n_steps, scalars, per_step, adams))
        finally:
            for group, adam, state in zip(self._groups, adams, states, strict=True):
                group.scatter(adam, state)
        named = [dict(zip(self._metric_names, m.unbind(1), strict=True)) for m in metrics]
        return n_chunks * self._unrolled, named

    def _fits(
        self,
        block: Mapping[str, torch.Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
        adams: Sequence[AdamState],
    ) -> bool:
        """Return whether the one program, for the shapes and constants that it was built for, can make the steps."""
        constants = [(*adam.group["betas"], adam.group["eps"]) for adam in adams]
        wanted = [(n, tuple(t.shape[1:]), t.dtype) for n, t in block.items()], constants, list(scalars), list(per_step)
        if not all(adam.is_uniform for adam in adams):
            return False
        if wanted != self._last_fit:
            if self.layout not in (None, str(wanted)):
                return False
            self._last_fit, self.layout = wanted, str(wanted)
        return True

    def _compile(
        self,
        block: Mapping[str, torch.Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray],
        adams: Sequence[AdamState],
    ) -> None:
        self._names = list(block)
        example = {**scalars, **{name: float(values[0]) for name, values in per_step.items()}}
        self._metric_names = self._metrics_of(block, example)
        constants = [(*adam.group["betas"], adam.group["eps"]) for adam in adams]
        program = Program(self._groups, constants, self._unrolled, self._names, list(scalars), list(per_step))
        self._step = torch.compile(program.function(), fullgraph=True, dynamic=False, options={"cpp_wrapper": True})

    def _inputs(
        self, n_steps: int, scalars: Mapping[str, float], per_step: Mapping[str, np.ndarray], adams: Sequence[AdamState]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the hyper-parameters of all steps, and those of each step (K, n)."""
        knobs = torch.tensor([*(float(adam.group["lr"]) for adam in adams), *scalars.values()], dtype=torch.float32)
        varying = torch.empty(n_steps, len(per_step))
        for i, values in enumerate(per_step.values()):
            varying[:, i] = torch.from_numpy(np.asarray(values, np.float32))
        return knobs, varying

    def _run(
        self,
        n_chunks: int,
        states: Sequence[Sequence[torch.Tensor]],
        block: Mapping[str, torch.Tensor],
        knobs: torch.Tensor,
        varying: torch.Tensor,
    ) -> list[torch.Tensor]:
        """Make the steps of the first chunks of a block, in place; return the metrics (unrolled, n) of each."""
        flat, metrics = [tensor for state in states for tensor in state], []
        with torch.no_grad():
            for i in range(n_chunks):
                part = slice(i * self._unrolled, (i + 1) * self._unrolled)
                chunk = [block[name][part] for name in self._names]
                metrics.append(self._step(flat, knobs, varying[part], chunk))
                self.has_run = True
        return metrics

    def _metrics_of(self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float]) -> list[str]:
        """Return the names of the objectives' metrics, in their order."""
        models = [model for group in self._groups for model in group.objective.models]
        first = {name: tensor[0] for name, tensor in block.items()}
        for model in models:
            model.eval()  # so that looking changes nothing, such as the statistics of a normalisation
        found: dict[str, object] = {}
        try:
            with torch.no_grad():
                for group in self._groups:
                    objective = group.objective
                    callables = [on_copies(model) for model in (*objective.models, *objective.reads)]
                    found |= objective.loss(callables, first, {**scalars, **found})[1]
                    found[objective.grad_norm] = torch.zeros(())
        finally:
            for model in models:
                model.train()
        return list(found)
