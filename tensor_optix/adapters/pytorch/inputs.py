"""PyTorch modules of several inputs, as modules of one array."""

from typing import Any

from tensor_optix.adapters._inputs import is_recurrent, n_required, parts_of, refuse_inputs, taken_apart
from tensor_optix.adapters.pytorch._names import unwrapped
from tensor_optix.adapters.pytorch._torch import torch


class TorchDictModel(torch.nn.Module):
    """A module over the members of a `Dict` or `Tuple` space, given the flattened observations that agents see.

        actor = TorchDictModel(env.observation_space, MultiInputActor())  # forward({"image": ..., "speed": ...})

    Its weights are saved under the names that they have in `module`.

    Args:
        observation_space: the environment's. Members keep their shapes; discrete values are one-hot, all are floats.
        module: called with a dict or tuple of tensors (B, ...), nested as the space is.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(self, observation_space: Any, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module
        self._parts, _ = parts_of(observation_space)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the module's output for observations (B, n)."""
        return self.module(taken_apart(x, self._parts, lambda part, shape: part.reshape(len(part), *shape)))


class PairModel(torch.nn.Module):
    """A module of two inputs, x (B, m) and y (B, n), given [x ‖ y] (B, m + n).

    Args:
        module: called with both.
        size: n.
    """

    def __init__(self, module: torch.nn.Module, size: int) -> None:
        super().__init__()
        self.module = module
        self._size = size

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        """Return the module's output for [x ‖ y]."""
        return self.module(pair[..., : -self._size], pair[..., -self._size :])


def pair_model(model: Any, size: int) -> Any:
    """See `Backend.pair_model`."""
    takes_two = isinstance(model, torch.nn.Module) and n_required(unwrapped(model).forward) == 2
    return PairModel(model, size) if takes_two else model


def check_inputs(name: str, model: torch.nn.Module) -> None:
    """Raise `ContractError` where a module's forward needs several arguments, and it is no recurrent one."""
    n_inputs = n_required(unwrapped(model).forward)
    if n_inputs > 1 and not is_recurrent(model):
        refuse_inputs(name, n_inputs, TorchDictModel.__name__)
