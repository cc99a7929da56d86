"""What `_compiled` compiles: some update steps as one function, from and to flat vectors of weights and moments."""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tensor_optix.adapters.backend import TARGET_RATE, Objective
from tensor_optix.adapters.pytorch._adam import AdamState
from tensor_optix.adapters.pytorch._arrays import may_work_in_place
from tensor_optix.errors import InvalidArgumentError

Parameters = Sequence[torch.nn.Parameter]


class Group:
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
        """Return the state as it is now."""
        moments = [_flat(tensors) for tensors in adam.moments]
        lagged = [_flat(self.lagged)] if self.lagged else []
        return [_flat(self.parameters), *moments, adam.step.detach().clone(), *lagged]

    def scatter(self, adam: AdamState, state: Sequence[torch.Tensor]) -> None:
        """Write a state back to the weights, moments and lagged copies, in place."""
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


class Program:
    """Some update steps of all groups, for one layout of the inputs.

    Args:
        groups: what each objective trains.
        constants: (beta1, beta2, eps) of each group's Adam.
        unrolled: minibatches per call.
        names: of the arrays of a minibatch.
        scalar_names: of the hyper-parameters that all steps share.
        varying_names: of those that each step has of its own.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        constants: Sequence[tuple[float, float, float]],
        unrolled: int,
        names: Sequence[str],
        scalar_names: Sequence[str],
        varying_names: Sequence[str],
    ) -> None:
        self._groups, self._constants, self._unrolled = groups, constants, unrolled
        self._names, self._scalar_names, self._varying_names = names, scalar_names, varying_names
        self._lengths = [5 if group.lagged else 4 for group in groups]
        self._homes = _homes(groups)
        self._gradient_of: Any = torch.func.grad_and_value(self._loss_of, has_aux=True)

    def function(self) -> Callable[..., torch.Tensor]:
        """Return the function to compile: (flat, knobs, varying, chunk) -> metrics (unrolled, n); `flat` changes."""
        # Compiled code is cached per code object; one of its own keeps each updater's cache to itself.
        steps = Program._steps
        code = steps.__code__.replace(co_name=f"update_steps_{id(self):x}")
        own = types.FunctionType(code, steps.__globals__, code.co_name, steps.__defaults__, steps.__closure__)
        return types.MethodType(own, self)

    def _steps(
        self, flat: list[torch.Tensor], knobs: torch.Tensor, varying: torch.Tensor, chunk: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        parts = iter(flat)
        states = [[next(parts) for _ in range(length)] for length in self._lengths]
        values, n_groups = knobs.unbind(0), len(self._groups)
        rates, shared = values[:n_groups], dict(zip(self._scalar_names, values[n_groups:], strict=True))
        rows = []
        for u in range(self._unrolled):
            batch = {name: tensor[u] for name, tensor in zip(self._names, chunk, strict=True)}
            scalars = shared | {name: varying[u, i] for i, name in enumerate(self._varying_names)}
            metrics: dict[str, torch.Tensor] = {}
            for g in range(n_groups):
                metrics |= self._train(g, states, rates[g], batch, scalars, metrics)
            rows.append(torch.stack(list(metrics.values())))
        for old, new in zip(flat, (tensor for state in states for tensor in state), strict=True):
            old.copy_(new)
        return torch.stack(rows)

    def _train(
        self,
        g: int,
        states: list[list[torch.Tensor]],
        rate: torch.Tensor,
        batch: Mapping[str, torch.Tensor],
        scalars: Mapping[str, torch.Tensor],
        metrics: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Put group g's state after one step in the place of that before; return its metrics."""
        group, state = self._groups[g], states[g]
        weights = [each[0] for each in states]
        lagged = [each[4] if len(each) > 4 else None for each in states]
        gradient, (_, found) = self._gradient_of(state[0], g, weights, lagged, batch, {**scalars, **metrics})
        norm = torch.sqrt((gradient * gradient).sum())
        if group.objective.max_grad_norm is not None:
            most = scalars[group.objective.max_grad_norm]
            gradient = gradient * torch.clamp(most / (norm + 1e-6), max=1.0)
        w, m, v, t = state[:4]
        state[:4] = _adam_step(w, m, v, t, gradient, rate, self._constants[g])
        if group.lagged:
            share = scalars[TARGET_RATE]
            state[4] = share * state[0] + (1.0 - share) * state[4]
        return {**found, group.objective.grad_norm: norm}

    def _loss_of(self, own: Any, g: int, weights: Any, lagged: Any, batch: Any, scalars: Any) -> object:
        """Loss and metrics of group g on the weights `own` (n,), for the gradient."""
        objective = self._groups[g].objective
        present = [own if i == g else w for i, w in enumerate(weights)]
        models = [self._bound(model, present, lagged) for model in (*objective.models, *objective.reads)]
        return objective.loss(models, batch, scalars)

    def _bound(self, model: torch.nn.Module, weights: Sequence[torch.Tensor], lagged: Sequence[Any]) -> object:
        """Return the model as a function of its input, on the weights as they are within the graph."""
        own = {}
        for name, parameter in model.named_parameters():
            if id(parameter) in self._homes:
                g, is_lagged, i = self._homes[id(parameter)]
                pieces = (lagged if is_lagged else weights)[g].split(self._groups[g].sizes)
                own[name] = pieces[i].view(parameter.shape)
        copies = may_work_in_place(model)
        return lambda x: torch.func.functional_call(model, own, (x.clone() if copies else x,))


def _homes(groups: Sequence[Group]) -> dict[int, tuple[int, bool, int]]:
    """Return (group, is lagged, position) of each parameter, by its identity."""
    homes = {}
    for g, group in enumerate(groups):
        homes |= {id(p): (g, False, i) for i, p in enumerate(group.parameters)}
        homes |= {id(p): (g, True, i) for i, p in enumerate(group.lagged)}
    return homes


def _adam_step(
    w: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    t: torch.Tensor,
    gradient: torch.Tensor,
    learning_rate: torch.Tensor,
    constants: tuple[float, float, float],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return weights, moments and the number of steps after one more step."""
    beta1, beta2, eps = constants
    t = t + 1
    m = m + (gradient - m) * (1 - beta1)
    v = v * beta2 + gradient * gradient * (1 - beta2)
    # In float32, 1 − βᵗ would lose a digit or two.
    correction1, correction2 = (1 - torch.pow(beta, t.double()) for beta in (beta1, beta2))
    rate = (learning_rate / correction1).float()
    return w - rate * m / (torch.sqrt(v) / torch.sqrt(correction2).float() + eps), m, v, t


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
