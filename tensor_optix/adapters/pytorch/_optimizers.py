"""What agents ask of a `torch.optim.Optimizer`: does it fit, its state as named numpy arrays, and a new start."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tensor_optix.adapters.pytorch._arrays import as_array
from tensor_optix.adapters.pytorch._without_compiler import step_without_compiler, without_compiler
from tensor_optix.errors import CheckpointMismatchError, ContractError, HyperparamError
from tensor_optix.support.plain import Json, SavedState


def check_optimizer(name: str, optimizer: object, trained: Mapping[str, torch.nn.Module]) -> None:
    """Raise `ContractError` unless an optimizer can train all weights of the models; each counts once in a group.

    Args:
        name: what the user knows it by.
        optimizer: whatever the user handed over.
        trained: the models by name.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ContractError(f"{name} must be a torch.optim.Optimizer, but got {type(optimizer).__name__}.")
    refuse_kind(name, optimizer)
    for group in optimizer.param_groups:  # [*actor.parameters(), *critic.parameters()] names a shared layer twice
        group["params"] = list(dict.fromkeys(group["params"]))
    bound = {id(p) for p in _parameters(optimizer)}
    for model, module in trained.items():
        for path, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in bound:
                remedy = f"Hand it the parameters of all of: {', '.join(trained)}."
                if type(optimizer).__name__ == "Muon" and parameter.ndim != 2:
                    remedy = "It takes matrices only: use AdamW, or layers with bias=False."
                raise ContractError(
                    f"{name} does not train '{model}.{path}' of shape {tuple(parameter.shape)}. {remedy}"
                )


def refuse_kind(name: str, optimizer: torch.optim.Optimizer) -> None:
    """Raise `ContractError` for an optimizer that does not make a step from gradients of weights."""
    kind = type(optimizer).__name__
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise ContractError(f"{name} is SparseAdam, which takes sparse gradients only. Use Adam: it takes both kinds.")
    if any(group.get("differentiable") for group in optimizer.param_groups):
        raise ContractError(f"{name} is {kind}, whose steps are differentiable. Make it with differentiable=False.")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ContractError(
            f"{name} is {kind}, whose step needs a closure that computes the loss again. Use an optimizer that takes "
            f"one gradient per step, such as Adam."
        )


def state_of(optimizer: torch.optim.Optimizer) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
    """See `Backend.optimizer_state`."""
    with without_compiler():
        state = optimizer.state_dict()
    arrays, plain = {}, {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                arrays[f"{index}.{key}"] = as_array(value.detach())
            else:
                plain[f"{index}.{key}"] = value
    groups = [{k: v for k, v in group.items() if _is_json(v)} for group in state["param_groups"]]
    return arrays, {"groups": groups, "plain": plain}


def expected_moments(optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """See `Backend.expected_moments`: a copy of the optimizer makes a step, so that any kind says it by itself."""
    own, _ = state_of(optimizer)
    if all(p in optimizer.state for p in _parameters(optimizer)):
        return own
    try:
        probe = copy.deepcopy(optimizer)
        for parameter in _parameters(probe):
            parameter.grad = torch.zeros_like(parameter)
        with torch.no_grad():
            step_without_compiler(probe)
    except Exception:  # whatever an optimizer of the user's own raises, it has no more to say
        return own
    return state_of(probe)[0]


def set_state(optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray], settings: SavedState) -> None:
    """See `Backend.set_optimizer_state`."""
    parameters = _parameters(optimizer)
    state: dict[int, dict[str, Any]] = {}
    entries = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()} | settings["plain"]
    for name, value in entries.items():
        index, _, key = name.partition(".")
        if int(index) >= len(parameters):
            raise CheckpointMismatchError(
                f"The saved optimizer has {key!r} of parameter {index}, this one has {len(parameters)} parameters."
            )
        state.setdefault(int(index), {})[key] = _laid_out(value, parameters[int(index)])
    with without_compiler():
        own = optimizer.state_dict()["param_groups"]
    if len(own) != len(settings["groups"]):
        raise CheckpointMismatchError(
            f"The saved optimizer has {len(settings['groups'])} parameter groups, this one has {len(own)}."
        )
    groups = [{**mine, **saved} for mine, saved in zip(own, settings["groups"], strict=True)]
    with without_compiler():
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def _laid_out(value: object, parameter: torch.Tensor) -> object:
    """Return a moment with the strides of its parameter, which fused kernels rely on: a convolution's may be others."""
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def restart(optimizer: torch.optim.Optimizer) -> None:
    """See `Backend.restart_optimizer`."""
    kind: Any = type(optimizer)
    try:
        with without_compiler():
            fresh = kind([dict(group) for group in optimizer.param_groups]).state
    except Exception:  # a constructor of the user's own: its state comes with the first step, as it mostly does
        fresh = {}
    optimizer.state.clear()
    optimizer.state.update(fresh)


def learning_rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """See `Backend.learning_rates`."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def set_learning_rates(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
    """See `Backend.set_learning_rates`."""
    _refuse_schedule(optimizer)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _refuse_schedule(optimizer: torch.optim.Optimizer) -> None:
    # A scheduler wraps the optimizer's step to count it; PyTorch before 2.5 named that otherwise.
    if any(hasattr(optimizer.step, mark) for mark in ("_wrapped_by_lr_sched", "_with_counter")):
        raise HyperparamError(
            "The optimizer follows a torch.optim.lr_scheduler, so learning_rate cannot be put in force. "
            "Leave the scheduler out: the loop tunes the rate while training."
        )


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _is_json(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | tuple)
