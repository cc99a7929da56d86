"""Forward, backward, clipping and Adam of several minibatches as one graph through `torch.compile`.

For the length of a block, weights and moments live in three flat vectors: the graph then has a handful of inputs in
place of dozens, which is most of a small network's time. They are written back in place at the end, also after an
error. All hyper-parameters are one tensor input, so that changing them compiles nothing again.
"""

import types
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch._adam import AdamState, is_plain_adam
from tensor_optix.errors import InvalidArgumentError

UNROLLED = 4
"""Minibatches per call: the cost of a call is shared, the time to compile still bearable."""


class CompiledSteps:
    """An objective's update steps, `UNROLLED` at a time.

    Args:
        objective: what to train; its optimizer must be a plain `torch.optim.Adam`.
        parameters: the weights it trains, in the order of the models.
    """

    def __init__(self, objective: Objective, parameters: Sequence[torch.nn.Parameter]) -> None:
        if not is_plain_adam(objective.optimizer, parameters):
            raise InvalidArgumentError(
                "only a plain torch.optim.Adam over exactly the models' float32 weights compiles"
            )
        self._objective = objective
        self._parameters = list(parameters)
        self._names: list[str] = []
        self._metric_names: list[str] = []
        self._built_for: Any = None
        self._step: Any = None
        self.has_run = False
        """True once a group of steps went through: what fails later is an error, not a lack of support."""

    def __call__(
        self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float]
    ) -> tuple[int, list[dict[str, torch.Tensor]]]:
        """Make the steps of whole groups of `UNROLLED` minibatches; return how many, and the metrics of each group."""
        state = AdamState(self._objective.optimizer, self._parameters)
        groups = len(next(iter(block.values()))) // UNROLLED
        # One program, for the shapes and constants that it was built for; the eager loop does the rest.
        wanted = [(n, t.shape[1:], t.dtype) for n, t in block.items()], state.group["betas"], state.group["eps"]
        if not groups or not state.is_uniform or self._built_for not in (None, wanted):
            return 0, []
        if self._step is None:
            self._names, self._built_for = list(block), wanted
            self._metric_names = [*self._metrics_of(block, scalars), "grad_norm"]
            self._step = torch.compile(
                self._build(state, list(scalars)), fullgraph=True, dynamic=False, options={"cpp_wrapper": True}
            )
        weights = _flat(self._parameters)
        first, second = (_flat([entry[key] for entry in state.entries]) for key in ("exp_avg", "exp_avg_sq"))
        step = state.step.detach().clone()
        knobs = torch.tensor([float(state.group["lr"]), *scalars.values()], dtype=torch.float32)
        metrics = []
        try:
            with torch.no_grad():
                for i in range(groups):
                    chunk = [block[name][i * UNROLLED : (i + 1) * UNROLLED] for name in self._names]
                    metrics.append(self._step(weights, first, second, step, knobs, *chunk))
                    self.has_run = True
        finally:
            self._write_back(state, weights, first, second, step)
        return groups * UNROLLED, [dict(zip(self._metric_names, m.unbind(1), strict=True)) for m in metrics]

    def _metrics_of(self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float]) -> list[str]:
        """Return the names of the objective's metrics, in its order."""
        models = self._objective.models
        first = {name: tensor[0] for name, tensor in block.items()}
        for model in models:
            model.eval()  # so that looking changes nothing, such as the statistics of a normalisation
        try:
            with torch.no_grad():
                return list(self._objective.loss(models, first, scalars)[1])
        finally:
            for model in models:
                model.train()

    def _write_back(self, state: AdamState, *flat: torch.Tensor) -> None:
        weights, first, second, step = flat
        sizes = [parameter.numel() for parameter in self._parameters]
        with torch.no_grad():
            for parameter, entry, w, m, v in zip(
                self._parameters, state.entries, *(t.split(sizes) for t in (weights, first, second)), strict=True
            ):
                parameter.copy_(w.view_as(parameter))
                entry["exp_avg"].copy_(m.view_as(parameter))
                entry["exp_avg_sq"].copy_(v.view_as(parameter))
                entry["step"].copy_(step)

    def _layout(self, model: torch.nn.Module) -> list[tuple[str, int, torch.Size]]:
        """Return (name in the model, position among the trained weights, shape) of each trained weight of a model."""
        positions = {id(parameter): index for index, parameter in enumerate(self._parameters)}
        return [(name, positions[id(p)], p.shape) for name, p in model.named_parameters() if p.requires_grad]

    def _build(self, state: AdamState, scalar_names: Sequence[str]) -> Any:
        """Return the function of `UNROLLED` steps, from and to flat vectors."""
        objective, names = self._objective, self._names
        sizes = [parameter.numel() for parameter in self._parameters]
        layouts = [self._layout(model) for model in objective.models]
        (beta1, beta2), eps = state.group["betas"], state.group["eps"]

        def loss_of(flat: torch.Tensor, batch: dict[str, Any], scalars: dict[str, Any]) -> Any:
            pieces = flat.split(sizes)
            models = []
            for model, layout in zip(objective.models, layouts, strict=True):
                weights = {name: pieces[index].view(shape) for name, index, shape in layout}
                models.append(lambda x, model=model, weights=weights: torch.func.functional_call(model, weights, (x,)))
            return objective.loss(models, batch, scalars)

        gradient_of = torch.func.grad_and_value(loss_of, has_aux=True)

        def steps(
            weights: torch.Tensor,
            first: torch.Tensor,
            second: torch.Tensor,
            step: torch.Tensor,
            knobs: torch.Tensor,
            *chunk: torch.Tensor,
        ) -> torch.Tensor:
            learning_rate, *values = knobs.unbind(0)
            scalars = dict(zip(scalar_names, values, strict=True))
            w, m, v, t = weights, first, second, step
            rows = []
            for u in range(UNROLLED):
                batch = {name: tensor[u] for name, tensor in zip(names, chunk, strict=True)}
                gradient, (_, metrics) = gradient_of(w, batch, scalars)
                norm = torch.sqrt((gradient * gradient).sum())
                if objective.max_grad_norm is not None:
                    gradient = gradient * torch.clamp(scalars[objective.max_grad_norm] / (norm + 1e-6), max=1.0)
                t = t + 1
                m = m + (gradient - m) * (1 - beta1)
                v = v * beta2 + gradient * gradient * (1 - beta2)
                # In float32, 1 − βᵗ would lose a digit or two.
                correction1, correction2 = (1 - torch.pow(beta, t.double()) for beta in (beta1, beta2))
                rate = (learning_rate / correction1).float()
                w = w - rate * m / (torch.sqrt(v) / torch.sqrt(correction2).float() + eps)
                metrics["grad_norm"] = norm
                rows.append(torch.stack(list(metrics.values())))
            weights.copy_(w)
            first.copy_(m)
            second.copy_(v)
            step.copy_(t)
            return torch.stack(rows)

        # Compiled code is cached per code object; one of its own keeps each updater's cache to itself.
        code = steps.__code__.replace(co_name=f"update_steps_{id(self):x}")
        return types.FunctionType(code, steps.__globals__, code.co_name, steps.__defaults__, steps.__closure__)


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
