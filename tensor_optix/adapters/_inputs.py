"""Models of several inputs: how the one array that agents see is taken apart again, and how many inputs a model has."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from tensor_optix.errors import ContractError, SpaceError


@dataclass(frozen=True)
class Part:
    """Where one member of a structured observation lies in the flattened one."""

    start: int
    stop: int
    shape: tuple[int, ...]
    """Its own; discrete values are one-hot."""


Parts: TypeAlias = "Part | dict[str, Parts] | tuple[Parts, ...]"
"""The parts of an observation, in the structure of its space."""


def parts_of(observation_space: Any) -> tuple[Parts, int]:
    """Return the parts of a `Dict` or `Tuple` space, in the order of `gymnasium.spaces.flatten`, and their total size.

    Raises:
        SpaceError: the space has no parts.
    """
    if not hasattr(observation_space, "spaces"):
        raise SpaceError(f"Only a Dict or Tuple space has parts, but the space is {observation_space}.")
    return _parts(observation_space, 0)


def _parts(space: Any, start: int) -> tuple[Parts, int]:
    members = getattr(space, "spaces", None)
    if isinstance(members, Mapping):
        named: dict[str, Parts] = {}
        for name, member in members.items():
            named[name], start = _parts(member, start)
        return named, start
    if members is not None:
        listed: list[Parts] = []
        for member in members:
            part, start = _parts(member, start)
            listed.append(part)
        return tuple(listed), start
    shape = _shape(space)
    stop = start + math.prod(shape)
    return Part(start, stop, shape), stop


def _shape(space: Any) -> tuple[int, ...]:
    if hasattr(space, "nvec"):
        return (int(space.nvec.sum()),)
    if hasattr(space, "n") and space.shape == ():
        return (int(space.n),)
    return tuple(space.shape)


def taken_apart(x: Any, parts: Parts, reshape: Callable[[Any, tuple[int, ...]], Any]) -> Any:
    """Return the parts of observations (B, n), in their structure.

    Args:
        x: a tensor (B, n).
        parts: see `parts_of`.
        reshape: (tensor (B, k), shape) -> tensor (B, *shape), of the framework.
    """
    if isinstance(parts, Part):
        return reshape(x[:, parts.start : parts.stop], parts.shape)
    if isinstance(parts, dict):
        return {name: taken_apart(x, part, reshape) for name, part in parts.items()}
    return tuple(taken_apart(x, part, reshape) for part in parts)


def n_required(call: Callable[..., object]) -> int:
    """Return how many positional arguments a model's call must have, 1 where that cannot be seen."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty and p.name not in ("training", "mask") for p in parameters)


def is_recurrent(model: object) -> bool:
    """Return whether a model says how much it remembers: it is called with observations, memory and begins."""
    return isinstance(getattr(model, "memory_size", None), int)


def refuse_inputs(name: str, n_inputs: int, wrapper: str) -> NoReturn:
    """Raise `ContractError`: a model has several inputs, but is given one array."""
    raise ContractError(
        f"{name} takes {n_inputs} inputs, but is given one array: the members of a Dict or Tuple space, flattened and "
        f"joined. Wrap it: {wrapper}(env.observation_space, model)."
    )
