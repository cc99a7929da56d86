"""Forward, backward, clipping and Adam of several minibatches as one graph through `torch.compile`.

For the length of a block, the weights and moments of each objective live in flat vectors: the graph then has a handful
of inputs in place of dozens, which is most of a small network's time. They are written back in place at the end, also
after an error. All hyper-parameters are one tensor input, so that changing them compiles nothing again.
"""

import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tensor_optix.adapters.backend import TARGET_RATE, Objective
from tensor_optix.adapters.pytorch._adam import AdamState, is_plain_adam
from tensor_optix.errors import InvalidArgumentError

UNROLLED = 4
"""Minibatches per call: the cost of a call is shared, the time to compile still bearable."""

Parameters = Sequence[torch.nn.Parameter]


class _Group:
    """One objective's state as flat vectors: weights, two moments, step, and the lagged copies' weights.

    Args:
        objective: the objective.
        parameters: the weights it trains.
    """

    def __init__(self, objective: Objective, parameters: Parameters) -> None:
        self.objective = objective
        self.parameters = list(parameters)
        self.lagged = [p for model in objective.lagged for p in model.parameters()]
        self.sizes = [p.numel() for p in self.parameters]
        if self.lagged and [p.shape for p in self.lagged] != [p.shape for p in self.parameters]:
            raise InvalidArgumentError("lagged copies of models with frozen or shared weights do not compile")
        if any(True for model in objective.lagged for _ in model.buffers()):
            raise InvalidArgumentError("lagged copies of models with running statistics do not compile")

    def gather(self, adam: AdamState) -> list[torch.Tensor]:
        moments = [_flat([entry[key] for entry in adam.entries]) for key in ("exp_avg", "exp_avg_sq")]
        lagged = [_flat(self.lagged)] if self.lagged else []
        return [_flat(self.parameters), *moments, adam.step.detach().clone(), *lagged]

    def scatter(self, adam: AdamState, state: Sequence[torch.Tensor]) -> None:
        weights, first, second, step, *lagged = state
        with torch.no_grad():
            for parameter, entry, w, m, v in zip(
                self.parameters, adam.entries, *(t.split(self.sizes) for t in (weights, first, second)), strict=True
            ):
                parameter.copy_(w.view_as(parameter))
                entry["exp_avg"].copy_(m.view_as(parameter))
                entry["exp_avg_sq"].copy_(v.view_as(parameter))
                entry["step"].copy_(step)
            for flat in lagged:
                for parameter, w in zip(self.lagged, flat.split(self.sizes), strict=True):
                    parameter.copy_(w.view_as(parameter))


class CompiledSteps:
    """The update steps of objectives, some at a time.

    Args:
        trained: each objective with the weights it trains; its optimizer must be a plain `torch.optim.Adam`.
    """

    def __init__(self, trained: Sequence[tuple[Objective, Parameters]]) -> None:
        if not all(is_plain_adam(objective.optimizer, parameters) for objective, parameters in trained):
            raise InvalidArgumentError(
                "only a plain torch.optim.Adam over exactly the models' float32 weights compiles"
            )
        self._groups = [_Group(objective, parameters) for objective, parameters in trained]
        # Several objectives make a graph that is large as it is, and a step long enough to be worth its call.
        self._unrolled = UNROLLED if len(self._groups) == 1 else 1
        self._names: list[str] = []
        self._metric_names: list[str] = []
        self._built_for: Any = None
        self._step: Any = None
        self.has_run = False
        """True once a group of steps went through: what fails later is an error, not a lack of support."""

    def __call__(
        self,
        block: Mapping[str, torch.Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[int, list[dict[str, torch.Tensor]]]:
        """Make the steps of whole groups of minibatches; return how many, and the metrics of each group."""
        per_step = per_step or {}
        adams = [AdamState(group.objective.optimizer, group.parameters) for group in self._groups]
        unrolled = self._unrolled
        n_steps = len(next(iter(block.values())))
        groups = n_steps // unrolled
        # One program, for the shapes and constants that it was built for; the eager loop does the rest.
        constants = [(adam.group["betas"], adam.group["eps"]) for adam in adams]
        wanted = [(n, t.shape[1:], t.dtype) for n, t in block.items()], constants, list(scalars), list(per_step)
        if not groups or not all(adam.is_uniform for adam in adams) or self._built_for not in (None, wanted):
            return 0, []
        if self._step is None:
            self._names, self._built_for = list(block), wanted
            example = {**scalars, **{name: float(values[0]) for name, values in per_step.items()}}
            self._metric_names = self._metrics_of(block, example)
            self._step = torch.compile(
                self._build(adams, list(scalars), list(per_step)),
                fullgraph=True,
                dynamic=False,
                options={"cpp_wrapper": True},
            )
        states = [group.gather(adam) for group, adam in zip(self._groups, adams, strict=True)]
        flat = [tensor for state in states for tensor in state]
        rates = [float(adam.group["lr"]) for adam in adams]
        knobs = torch.tensor([*rates, *scalars.values()], dtype=torch.float32)
        varying = torch.empty(n_steps, len(per_step))
        for i, values in enumerate(per_step.values()):
            varying[:, i] = torch.from_numpy(np.asarray(values, np.float32))
        metrics = []
        try:
            with torch.no_grad():
                for i in range(groups):
                    part = slice(i * unrolled, (i + 1) * unrolled)
                    chunk = [block[name][part] for name in self._names]
                    metrics.append(self._step(flat, knobs, varying[part], chunk))
                    self.has_run = True
        finally:
            for group, adam, state in zip(self._groups, adams, states, strict=True):
                group.scatter(adam, state)
        return groups * unrolled, [dict(zip(self._metric_names, m.unbind(1), strict=True)) for m in metrics]

    def _metrics_of(self, block: Mapping[str, torch.Tensor], scalars: Mapping[str, float]) -> list[str]:
        """Return the names of the objectives' metrics, in their order."""
        models = [model for group in self._groups for model in group.objective.models]
        first = {name: tensor[0] for name, tensor in block.items()}
        for model in models:
            model.eval()  # so that looking changes nothing, such as the statistics of a normalisation
        found: dict[str, Any] = {}
        try:
            with torch.no_grad():
                for group in self._groups:
                    objective = group.objective
                    callables = (*objective.models, *objective.reads)
                    found |= objective.loss(callables, first, {**scalars, **found})[1]
                    found[objective.grad_norm] = torch.zeros(())
        finally:
            for model in models:
                model.train()
        return list(found)

    def _homes(self) -> dict[int, tuple[int, bool, int]]:
        """Return (group, is lagged, position) of each parameter, by its identity."""
        homes = {}
        for g, group in enumerate(self._groups):
            homes |= {id(p): (g, False, i) for i, p in enumerate(group.parameters)}
            homes |= {id(p): (g, True, i) for i, p in enumerate(group.lagged)}
        return homes

    def _build(self, adams: Sequence[AdamState], scalar_names: Sequence[str], varying_names: Sequence[str]) -> Any:
        """Return the function of some steps, from and to flat vectors."""
        groups, names, unrolled = self._groups, self._names, self._unrolled
        homes = self._homes()
        lengths = [5 if group.lagged else 4 for group in groups]
        constants = [(*adam.group["betas"], adam.group["eps"]) for adam in adams]

        def bound(model: torch.nn.Module, weights: Sequence[Any], lagged: Sequence[Any]) -> Any:
            """The model as a function of its input, on the weights as they are within the graph."""
            own = {}
            for name, parameter in model.named_parameters():
                if id(parameter) in homes:
                    g, is_lagged, i = homes[id(parameter)]
                    pieces = (lagged if is_lagged else weights)[g].split(groups[g].sizes)
                    own[name] = pieces[i].view(parameter.shape)
            return lambda x: torch.func.functional_call(model, own, (x,))

        def loss_of(own: Any, g: int, weights: Any, lagged: Any, batch: Any, scalars: Any) -> Any:
            objective = groups[g].objective
            present = [own if i == g else w for i, w in enumerate(weights)]
            models = [bound(model, present, lagged) for model in (*objective.models, *objective.reads)]
            return objective.loss(models, batch, scalars)

        gradient_of = torch.func.grad_and_value(loss_of, has_aux=True)

        def adam_step(w: Any, m: Any, v: Any, t: Any, gradient: Any, g: int, learning_rate: Any) -> Any:
            beta1, beta2, eps = constants[g]
            t = t + 1
            m = m + (gradient - m) * (1 - beta1)
            v = v * beta2 + gradient * gradient * (1 - beta2)
            # In float32, 1 − βᵗ would lose a digit or two.
            correction1, correction2 = (1 - torch.pow(beta, t.double()) for beta in (beta1, beta2))
            rate = (learning_rate / correction1).float()
            return w - rate * m / (torch.sqrt(v) / torch.sqrt(correction2).float() + eps), m, v, t

        def steps(flat: list[Any], knobs: torch.Tensor, varying: torch.Tensor, chunk: list[Any]) -> torch.Tensor:
            parts = iter(flat)
            states = [[next(parts) for _ in range(length)] for length in lengths]
            values = knobs.unbind(0)
            rates, shared = values[: len(groups)], dict(zip(scalar_names, values[len(groups) :], strict=True))
            rows = []
            for u in range(unrolled):
                batch = {name: tensor[u] for name, tensor in zip(names, chunk, strict=True)}
                scalars = shared | {name: varying[u, i] for i, name in enumerate(varying_names)}
                metrics: dict[str, Any] = {}
                for g, group in enumerate(groups):
                    weights = [state[0] for state in states]
                    lagged = [state[4] if len(state) > 4 else None for state in states]
                    w, m, v, t = states[g][:4]
                    gradient, (_, found) = gradient_of(w, g, weights, lagged, batch, scalars | metrics)
                    norm = torch.sqrt((gradient * gradient).sum())
                    if group.objective.max_grad_norm is not None:
                        bound_ = scalars[group.objective.max_grad_norm]
                        gradient = gradient * torch.clamp(bound_ / (norm + 1e-6), max=1.0)
                    states[g][:4] = adam_step(w, m, v, t, gradient, g, rates[g])
                    if group.lagged:
                        share = scalars[TARGET_RATE]
                        states[g][4] = share * states[g][0] + (1.0 - share) * states[g][4]
                    metrics |= {**found, group.objective.grad_norm: norm}
                rows.append(torch.stack(list(metrics.values())))
            for old, new in zip(flat, (tensor for state in states for tensor in state), strict=True):
                old.copy_(new)
            return torch.stack(rows)

        # Compiled code is cached per code object; one of its own keeps each updater's cache to itself.
        code = steps.__code__.replace(co_name=f"update_steps_{id(self):x}")
        return types.FunctionType(code, steps.__globals__, code.co_name, steps.__defaults__, steps.__closure__)


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
