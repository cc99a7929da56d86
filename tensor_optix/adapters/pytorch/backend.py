"""PyTorch behind the `Backend` protocol."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tensor_optix.adapters.backend import Objective, Ops, Predictor, Tensor, Updater
from tensor_optix.adapters.pytorch._predictor import TorchPredictor
from tensor_optix.adapters.pytorch._updater import TorchUpdater, Trained
from tensor_optix.adapters.saving.weights import check_weights
from tensor_optix.errors import CheckpointMismatchError, ContractError, HyperparamError


class _TorchOps:
    exp = staticmethod(torch.exp)
    sqrt = staticmethod(torch.sqrt)
    square = staticmethod(torch.square)
    minimum = staticmethod(torch.minimum)
    clip = staticmethod(torch.clamp)
    where = staticmethod(torch.where)
    mean = staticmethod(torch.mean)
    tanh = staticmethod(torch.tanh)
    softplus = staticmethod(torch.nn.functional.softplus)

    @staticmethod
    def max(x: torch.Tensor) -> torch.Tensor:
        return x.amax(-1)

    @staticmethod
    def argmax(x: torch.Tensor) -> torch.Tensor:
        return x.argmax(-1)

    @staticmethod
    def concat(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tuple(parts), -1)

    @staticmethod
    def no_gradient(fn: Callable[[], Tensor]) -> Tensor:
        with torch.no_grad():
            return fn()

    @staticmethod
    def sum(x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1)

    @staticmethod
    def log_softmax(x: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(x, -1)

    @staticmethod
    def gather(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return x.gather(-1, indices.unsqueeze(-1)).squeeze(-1)


class Temperature(torch.nn.Module):
    """log α, as a model of one weight: the parameter of an optimizer.

    Args:
        optimizer: it has one parameter, which this shares its memory with.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        group = optimizer.param_groups[0]
        given = group["params"][0]
        self.log_alpha = given if isinstance(given, torch.nn.Parameter) else torch.nn.Parameter(given.detach())
        if self.log_alpha is not given:  # a plain tensor cannot be a module's parameter
            group["params"][0] = self.log_alpha
            optimizer.state.pop(given, None)

    def forward(self, _: object) -> torch.Tensor:
        """Return log α as a scalar."""
        return self.log_alpha.reshape(())


class TorchBackend:
    """The closed list of operations, on PyTorch."""

    name = "torch"
    ops: Ops = _TorchOps()

    def check(
        self, models: Mapping[str, torch.nn.Module], optimizers: Mapping[str, tuple[object, Sequence[str]]]
    ) -> None:
        """See `Backend.check`."""
        for name, model in models.items():
            if not isinstance(model, torch.nn.Module):
                raise ContractError(f"{name} must be a torch.nn.Module, but got {type(model).__name__}.")
        for name, (optimizer, trained) in optimizers.items():
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise ContractError(f"{name} must be a torch.optim.Optimizer, but got {type(optimizer).__name__}.")
            bound = {id(p) for group in optimizer.param_groups for p in group["params"]}
            for model in trained:
                for path, parameter in models[model].named_parameters():
                    if parameter.requires_grad and id(parameter) not in bound:
                        raise ContractError(
                            f"{name} does not train '{model}.{path}' of shape {tuple(parameter.shape)}. Hand it the "
                            f"parameters of all of: {', '.join(trained)}."
                        )

    def predictor(self, model: torch.nn.Module) -> Predictor:
        """See `Backend.predictor`. The model is put in evaluation mode; updates put it in training mode meanwhile."""
        model.eval()
        return TorchPredictor(model)

    def updater(self, objective: Objective | Sequence[Objective], compile: bool | None) -> Updater:
        """See `Backend.updater`."""
        return TorchUpdater(objective, compile)

    def lagged_copy(self, model: torch.nn.Module) -> torch.nn.Module:
        """See `Backend.lagged_copy`."""
        lagged: Any = copy.deepcopy(model).eval().requires_grad_(False)
        lagged._constants_of_source = _constants_of(model)
        return lagged

    def temperature(self, optimizer: torch.optim.Optimizer) -> torch.nn.Module:
        """See `Backend.temperature`; log α is the one parameter that the optimizer was made with."""
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ContractError(f"alpha_optimizer must be a torch.optim.Optimizer, but got {type(optimizer).__name__}.")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if len(parameters) != 1 or parameters[0].numel() != 1:
            raise ContractError(
                f"alpha_optimizer must train log α, one tensor of one number, but it has {len(parameters)} tensors of "
                f"shapes {[tuple(p.shape) for p in parameters]}. Make it with "
                f"torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=3e-4)."
            )
        return Temperature(optimizer)

    def minimise(
        self, loss: Callable[[], torch.Tensor], models: Sequence[torch.nn.Module], optimizer: torch.optim.Optimizer
    ) -> tuple[float, float]:
        """See `Backend.minimise`."""
        objective = Objective(lambda *_: (loss(), {}), models, optimizer)
        for model in models:
            model.train()
        try:
            value = loss()
            norm = Trained(objective).apply_gradients(value, None)
        finally:
            for model in models:
                model.eval()
        return float(value.detach()), float(norm)

    def weights(self, models: Mapping[str, torch.nn.Module]) -> dict[str, np.ndarray]:
        """See `Backend.weights`; paths are those of `state_dict`."""
        return {
            # numpy has no bfloat16; float32 holds its values exactly.
            f"{name}.{path}": (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).cpu().numpy().copy()
            for name, model in models.items()
            for path, tensor in model.state_dict().items()
        }

    def set_weights(self, models: Mapping[str, torch.nn.Module], weights: Mapping[str, np.ndarray]) -> None:
        """See `Backend.set_weights`."""
        targets = {f"{n}.{path}": tensor for n, model in models.items() for path, tensor in model.state_dict().items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in targets.items()}
        check_weights(shapes, weights, self.constants(models))
        with torch.no_grad():
            for name, tensor in targets.items():
                tensor.copy_(torch.from_numpy(np.array(weights[name])))

    def trainable(self, models: Mapping[str, torch.nn.Module]) -> Collection[str]:
        """See `Backend.trainable`."""
        return {
            f"{name}.{path}"
            for name, model in models.items()
            for path, parameter in model.named_parameters(remove_duplicate=False)
            if parameter.requires_grad
        }

    def constants(self, models: Mapping[str, torch.nn.Module]) -> Collection[str]:
        """See `Backend.constants`: buffers but running statistics, and parameters that are frozen."""
        return {f"{name}.{path}" for name, model in models.items() for path in _constants_of(model)}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """See `Backend.optimizer_state`."""
        state = optimizer.state_dict()
        arrays, plain = {}, {}
        for index, entries in state["state"].items():
            for key, value in entries.items():
                if isinstance(value, torch.Tensor):
                    arrays[f"{index}.{key}"] = value.detach().cpu().numpy().copy()
                else:
                    plain[f"{index}.{key}"] = value
        groups = [{k: v for k, v in group.items() if _is_json(v)} for group in state["param_groups"]]
        return arrays, {"groups": groups, "plain": plain}

    def set_optimizer_state(
        self, optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]
    ) -> None:
        """See `Backend.set_optimizer_state`."""
        state: dict[int, dict[str, Any]] = {}
        entries = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()} | settings["plain"]
        for name, value in entries.items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for index, entries_of in state.items():
            for key, value in entries_of.items():
                shape = tuple(parameters[index].shape) if index < len(parameters) else None
                if isinstance(value, torch.Tensor) and value.ndim and tuple(value.shape) != shape:
                    raise CheckpointMismatchError(
                        f"The saved optimizer's {key!r} of parameter {index} has shape {tuple(value.shape)}, not "
                        f"{shape}."
                    )
        own = optimizer.state_dict()["param_groups"]
        if len(own) != len(settings["groups"]):
            raise CheckpointMismatchError(
                f"The saved optimizer has {len(settings['groups'])} parameter groups, this one has {len(own)}."
            )
        groups = [{**mine, **saved} for mine, saved in zip(own, settings["groups"], strict=True)]
        optimizer.load_state_dict({"state": state, "param_groups": groups})

    def set_learning_rates(self, optimizer: torch.optim.Optimizer, learning_rates: Sequence[float]) -> None:
        """See `Backend.set_learning_rates`."""
        _refuse_schedule(optimizer)
        for group, learning_rate in zip(optimizer.param_groups, learning_rates, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def learning_rates(self, optimizer: torch.optim.Optimizer) -> list[float]:
        """See `Backend.learning_rates`."""
        _refuse_schedule(optimizer)
        return [float(group["lr"]) for group in optimizer.param_groups]


def _constants_of(model: torch.nn.Module) -> frozenset[str]:
    of_source = getattr(model, "_constants_of_source", None)  # in a lagged copy all parameters are frozen
    if of_source is not None:
        return of_source
    learned = {path for path, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad}
    statistics = {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, torch.nn.modules.batchnorm._NormBase)
        for name, _ in module.named_buffers(recurse=False)
    }
    return frozenset(model.state_dict().keys() - learned - statistics)


def _refuse_schedule(optimizer: torch.optim.Optimizer) -> None:
    # A scheduler wraps the optimizer's step to count it.
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        raise HyperparamError(
            "The optimizer follows a torch.optim.lr_scheduler, so learning_rate cannot be put in force. "
            "Leave the scheduler out: the loop tunes the rate while training."
        )


def _is_json(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | tuple)
