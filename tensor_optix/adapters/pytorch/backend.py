"""PyTorch behind the `Backend` protocol."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from tensor_optix.adapters._device_memory import DeviceMemory
from tensor_optix.adapters.backend import Objective, Ops, Predictor, RecurrentPredictor, Tensor, Updater
from tensor_optix.adapters.pytorch import _optimizers
from tensor_optix.adapters.pytorch._arrays import copied
from tensor_optix.adapters.pytorch._compiled import ProgramChoice
from tensor_optix.adapters.pytorch._device_memory import TorchDeviceMemory
from tensor_optix.adapters.pytorch._names import plain_names, unwrapped, without_wrappers
from tensor_optix.adapters.pytorch._optimizers import check_optimizer, refuse_kind
from tensor_optix.adapters.pytorch._predictor import TorchPredictor
from tensor_optix.adapters.pytorch._randomness import TorchRandomness
from tensor_optix.adapters.pytorch._recurrent import TorchRecurrentPredictor
from tensor_optix.adapters.pytorch._tape import Taped
from tensor_optix.adapters.pytorch._temperature import Temperature
from tensor_optix.adapters.pytorch._trained import Trained
from tensor_optix.adapters.pytorch._trunk import joint_model
from tensor_optix.adapters.pytorch._updater import TorchUpdater
from tensor_optix.adapters.pytorch._weights import arrays_of, constants_of, named_tensors
from tensor_optix.adapters.pytorch.inputs import member_model, pair_model
from tensor_optix.adapters.saving.weights import check_weights
from tensor_optix.errors import ContractError, ModelShapeError
from tensor_optix.support.plain import Json, SavedState


class _TorchOps:
    """Methods rather than functions of PyTorch, where there are: a `Taped` array has them, too."""

    where = staticmethod(torch.where)
    softplus = staticmethod(torch.nn.functional.softplus)

    @staticmethod
    def exp(x: torch.Tensor) -> torch.Tensor:
        return x.exp()

    @staticmethod
    def sqrt(x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()

    @staticmethod
    def square(x: torch.Tensor) -> torch.Tensor:
        return x.square()

    @staticmethod
    def tanh(x: torch.Tensor) -> torch.Tensor:
        return x.tanh()

    @staticmethod
    def minimum(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x.minimum(y)

    @staticmethod
    def clip(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return x.clamp(low, high)

    @staticmethod
    def mean(x: torch.Tensor) -> torch.Tensor:
        return x.mean()

    @staticmethod
    def sum(x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1)

    @staticmethod
    def max(x: torch.Tensor) -> torch.Tensor:
        return x.amax(-1)

    @staticmethod
    def argmax(x: torch.Tensor) -> torch.Tensor:
        return x.argmax(-1)

    @staticmethod
    def log_softmax(x: torch.Tensor) -> torch.Tensor:
        return x.log_softmax(-1)

    @staticmethod
    def gather(x: Tensor, indices: Tensor) -> Tensor:
        if isinstance(x, Taped):
            return x.one_of_each(indices)
        return x.gather(-1, indices.unsqueeze(-1)).squeeze(-1)

    @staticmethod
    def concat(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tuple(parts), -1)

    @staticmethod
    def no_gradient(fn: Callable[[], Tensor]) -> Tensor:
        with torch.no_grad():
            return fn()


class TorchBackend:
    """The closed list of operations, on PyTorch."""

    name = "torch"
    ops: Ops = _TorchOps()

    def __init__(self) -> None:
        self.randomness = TorchRandomness()
        self.programs: dict[str, str] = {}

    def check(
        self, models: Mapping[str, torch.nn.Module], optimizers: Mapping[str, tuple[object, Sequence[str]]]
    ) -> None:
        """See `Backend.check`."""
        for name, model in models.items():
            if not isinstance(model, torch.nn.Module):
                raise ContractError(f"{name} must be a torch.nn.Module, but got {type(model).__name__}.")
            _refuse_weights(name, model)
        for name, (optimizer, trained) in optimizers.items():
            check_optimizer(name, optimizer, {model: models[model] for model in trained})

    def pair_model(self, model: torch.nn.Module, size: int) -> torch.nn.Module:
        """See `Backend.pair_model`."""
        return pair_model(model, size)

    def member_model(self, model: torch.nn.Module, n_others: int = 0) -> torch.nn.Module:
        """See `Backend.member_model`."""
        return member_model(model, n_others)

    def joint_model(self, actor: torch.nn.Module, critic: torch.nn.Module) -> torch.nn.Module | None:
        """See `Backend.joint_model`."""
        return joint_model(actor, critic)

    def predictor(self, model: torch.nn.Module) -> Predictor:
        """See `Backend.predictor`. The model is put in evaluation mode; updates put it in training mode meanwhile."""
        model.eval()
        return TorchPredictor(model, self.randomness)

    def recurrent_predictor(self, model: torch.nn.Module) -> RecurrentPredictor:
        """See `Backend.recurrent_predictor`. The model is put in evaluation mode, as by `predictor`."""
        model.eval()
        return TorchRecurrentPredictor(model)

    def updater(self, objective: Objective | Sequence[Objective], compile: bool | None, key: str = "update") -> Updater:
        """See `Backend.updater`."""
        return TorchUpdater(objective, compile, self.randomness, ProgramChoice(self.programs, key))

    def lagged_copy(self, model: torch.nn.Module) -> torch.nn.Module:
        """See `Backend.lagged_copy`; that of a bfloat16 model is in float32, or small steps towards it were lost."""
        lagged: Any = copied(unwrapped(model)).eval()
        for parameter in lagged.parameters():  # copies of TorchScript's are no leaves
            parameter.detach_().requires_grad_(False)
        if all(p.dtype is torch.bfloat16 for p in lagged.parameters()):
            lagged.float()
        lagged._constants_of_source = constants_of(model)
        return lagged

    def device_memory(self, models: Sequence[torch.nn.Module]) -> DeviceMemory | None:
        """See `Backend.device_memory`."""
        device = next(models[0].parameters()).device
        return TorchDeviceMemory(device) if device.type == "cuda" else None

    def temperature(self, optimizer: torch.optim.Optimizer) -> torch.nn.Module:
        """See `Backend.temperature`; log α is the one parameter that the optimizer was made with."""
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ContractError(f"alpha_optimizer must be a torch.optim.Optimizer, but got {type(optimizer).__name__}.")
        refuse_kind("alpha_optimizer", optimizer)
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
            with self.randomness:
                value = loss()
                norm = Trained(objective).apply_gradients(value, None)
        finally:
            for model in models:
                model.eval()
        return float(value.detach()), float(norm)

    def weights(self, models: Mapping[str, torch.nn.Module]) -> dict[str, np.ndarray]:
        """See `Backend.weights`; paths are those of `state_dict`, without what wrappers add to them."""
        return arrays_of(named_tensors(models))

    def set_weights(self, models: Mapping[str, torch.nn.Module], weights: Mapping[str, np.ndarray]) -> None:
        """See `Backend.set_weights`."""
        targets = named_tensors(models)
        shapes = {name: tuple(tensor.shape) for name, tensor in targets.items()}
        check_weights(shapes, weights, self.constants(models))
        with torch.no_grad():
            for name, tensor in targets.items():
                tensor.copy_(torch.from_numpy(np.array(weights[name])))

    def plain_name(self, name: str) -> str:
        """See `Backend.plain_name`."""
        return without_wrappers(name)

    def trainable(self, models: Mapping[str, torch.nn.Module]) -> Collection[str]:
        """See `Backend.trainable`."""
        return {
            f"{name}.{path}"
            for name, model in models.items()
            for path in plain_names(
                model, (p for p, weight in model.named_parameters(remove_duplicate=False) if weight.requires_grad)
            )
        }

    def constants(self, models: Mapping[str, torch.nn.Module]) -> Collection[str]:
        """See `Backend.constants`: buffers but running statistics, and parameters that are frozen."""
        return {f"{name}.{path}" for name, model in models.items() for path in constants_of(model)}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """See `Backend.optimizer_state`."""
        return _optimizers.state_of(optimizer)

    def set_optimizer_state(
        self, optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray], settings: SavedState
    ) -> None:
        """See `Backend.set_optimizer_state`."""
        _optimizers.set_state(optimizer, arrays, settings)

    def expected_moments(self, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
        """See `Backend.expected_moments`."""
        return _optimizers.expected_moments(optimizer)

    def restart_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """See `Backend.restart_optimizer`."""
        _optimizers.restart(optimizer)

    def set_learning_rates(self, optimizer: torch.optim.Optimizer, learning_rates: Sequence[float]) -> None:
        """See `Backend.set_learning_rates`."""
        _optimizers.set_learning_rates(optimizer, learning_rates)

    def learning_rates(self, optimizer: torch.optim.Optimizer) -> list[float]:
        """See `Backend.learning_rates`."""
        return _optimizers.learning_rates(optimizer)

    def seed(self, models: Mapping[str, torch.nn.Module], seed: int | None) -> None:
        """See `Backend.seed`."""
        self.randomness.seed(list(models.values()), seed)

    def random_state(self, models: Mapping[str, torch.nn.Module]) -> dict[str, np.ndarray]:
        """See `Backend.random_state`."""
        return self.randomness.state()

    def set_random_state(self, models: Mapping[str, torch.nn.Module], state: Mapping[str, np.ndarray]) -> None:
        """See `Backend.set_random_state`."""
        self.randomness.restore(state)


def _refuse_weights(name: str, model: torch.nn.Module) -> None:
    """Raise a typed error where a model has weights that cannot be trained, or none."""
    if next(model.parameters(), None) is None:
        raise ModelShapeError(f"{name} has no weights: there is nothing to train. Give it a layer that has some.")
    for path, weight in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(weight):
            raise ModelShapeError(
                f"{name} has no weights yet: {path!r} is lazy. Call it once on a batch of observations, before the "
                f"optimizer is made."
            )
        if weight.dtype is torch.float16 and weight.requires_grad:
            raise ContractError(
                f"{name} has weights in float16 ({path!r}), whose gradients and moments vanish. Use bfloat16 or "
                f"float32."
            )
        if weight.dtype.is_complex:
            raise ContractError(
                f"{name} has complex numbers ({path!r}), which are not saved. Keep real and imaginary parts in two "
                f"tensors, and join them in the forward pass: torch.complex(real, imaginary)."
            )
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ContractError(
                f"{name} normalises by each batch alone ({path!r}), so that an action would depend on the other rows, "
                f"and one observation could not be acted on. Make it with track_running_stats=True, or use LayerNorm."
            )
