"""PyTorch modules of several inputs, as modules of one array."""

from tensor_optix.adapters._inputs import Members, is_recurrent, required, taken_apart, takes_members, unwired
from tensor_optix.adapters.backend import Tensor
from tensor_optix.adapters.pytorch._names import unwrapped
from tensor_optix.adapters.pytorch._torch import torch
from tensor_optix.core.types import Space


class MemberModel(torch.nn.Module):
    """A module over the members of a structured observation, given the flattened observations that agents see.

    Its weights are saved under the names that they have in `module`.

    Args:
        module: called with a dict or tuple of tensors (B, ...), nested as the space is, or with one tensor for each
            member; and with what else is given.
        members: how it takes them.
    """

    def __init__(self, module: torch.nn.Module, members: Members) -> None:
        super().__init__()
        self.module = module
        self.members = members
        if hasattr(module, "memory_size"):
            self.memory_size = module.memory_size

    def forward(self, x: torch.Tensor, *others: torch.Tensor) -> Tensor:
        """Return the module's output for observations (..., n), and what it takes besides."""
        if self.members.parts is None:
            try:
                return self.module(x, *others)
            except Exception as error:
                raise unwired(self.module, TorchDictModel.__name__) from error
        given = taken_apart(x, self.members.parts, lambda part, shape: part.reshape(*part.shape[:-1], *shape))
        if self.members.names is None:
            return self.module(given, *others)
        return self.module(*self.members.inputs(given, others))


class TorchDictModel(MemberModel):
    """A module over the members of a `Dict` or `Tuple` space, where the agent's own environment does not show it.

        actor = TorchDictModel(env.observation_space, MultiInputActor())  # forward({"image": ..., "speed": ...})

    Modules that take a dict, or members by their names, need no wrapper: see `member_model`.

    Args:
        observation_space: the environment's. Members keep their shapes; discrete values are one-hot, all are floats.
        module: called with a dict or tuple of tensors (B, ...), nested as the space is, or with one tensor for each
            member.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(self, observation_space: Space, module: torch.nn.Module) -> None:
        forward = unwrapped(module).forward
        names = required(forward)
        is_whole = len(names) < 2 or takes_members(forward, len(names) - 1)
        super().__init__(module, Members(None if is_whole else names, observation_space=observation_space))


class PairModel(torch.nn.Module):
    """A module of two inputs, x (B, m) and y (B, n), given [x ‖ y] (B, m + n).

    Args:
        module: called with both.
        size: n.
    """

    def __init__(self, module: torch.nn.Module, size: int) -> None:
        super().__init__()
        self.module = module
        self.members = getattr(module, "members", None)
        self._size = size

    def forward(self, pair: torch.Tensor) -> torch.Tensor:
        """Return the module's output for [x ‖ y]."""
        return self.module(pair[..., : -self._size], pair[..., -self._size :])


def pair_model(model: torch.nn.Module, size: int) -> torch.nn.Module:
    """See `Backend.pair_model`."""
    if not isinstance(model, torch.nn.Module):
        return model
    inner = model.module if isinstance(model, MemberModel) else model
    if len(required(unwrapped(inner).forward)) < 2:
        return model
    return PairModel(member_model(model, 1), size)


def member_model(model: torch.nn.Module, n_others: int = 0) -> torch.nn.Module:
    """See `Backend.member_model`."""
    if not isinstance(model, torch.nn.Module) or isinstance(model, MemberModel):
        return model
    if is_recurrent(model) and not n_others:  # whose other inputs are no members
        return model
    first = unwrapped(model)
    while type(first) is torch.nn.Sequential and len(first):
        first = unwrapped(first[0])
    if type(first).__module__.startswith("torch.nn."):
        return model
    names = required(first.forward)
    if takes_members(first.forward, max(len(names) - 1, n_others)):
        return MemberModel(model, Members())
    return MemberModel(model, Members(names, n_others)) if len(names) > 1 + n_others else model
