"""Models of several inputs: how the one array that agents see is taken apart again, and what a model wants to be given.

Agents see a structured observation as one vector. A model of the user's own may take its members: as one dict or tuple,
or each as an input of its own. That is seen when the agent is made; where the members lie in the vector is known when
the agent is wired to an environment.
"""

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from tensor_optix.adapters.backend import Tensor
from tensor_optix.core.types import Space
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


def parts_of(observation_space: Space) -> tuple[Parts, int]:
    """Return the parts of a `Dict` or `Tuple` space, in the order of `gymnasium.spaces.flatten`, and their total size.

    Raises:
        SpaceError: the space has no parts.
    """
    if not hasattr(observation_space, "spaces"):
        raise SpaceError(f"Only a Dict or Tuple space has parts, but the space is {observation_space}.")
    return _parts(observation_space, 0)


def _parts(space: Space, start: int) -> tuple[Parts, int]:
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


def _shape(space: Space) -> tuple[int, ...]:
    if hasattr(space, "nvec"):
        return (int(space.nvec.sum()),)
    if hasattr(space, "n") and space.shape == ():
        return (int(space.n),)
    return tuple(space.shape)


def taken_apart(x: Tensor, parts: Parts, reshape: Callable[[Tensor, tuple[int, ...]], Tensor]) -> Tensor:
    """Return the parts of observations (..., n), in their structure.

    Args:
        x: a tensor (..., n).
        parts: see `parts_of`.
        reshape: (tensor (..., k), shape) -> tensor (..., *shape), of the framework.
    """
    if isinstance(parts, Part):
        return reshape(x[..., parts.start : parts.stop], parts.shape)
    if isinstance(parts, dict):
        return {name: taken_apart(x, part, reshape) for name, part in parts.items()}
    return tuple(taken_apart(x, part, reshape) for part in parts)


class Members:
    """The members of a structured observation, as a model takes them. A model and its lagged copies share one.

    Args:
        names: of the inputs that a model has one each for, in their order; None where it takes one dict or tuple.
        n_others: how many of these inputs are no members: the action of a critic.
        shapes: of the inputs, where the model tells them: names that are no members' are found by them.
        observation_space: where it is known, and stays that; all inputs but its members are others then.

    Attributes:
        parts: where the members lie; None until that is known.
        size: of the observation that they are taken from; 0 until then.

    Raises:
        SpaceError: the space has no members, or not those of the names.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        n_others: int = 0,
        *,
        shapes: Sequence[tuple[int | None, ...]] = (),
        observation_space: Space = None,
    ) -> None:
        self.names = None if names is None else list(names)
        self.parts: Parts | None = None
        self.size = 0
        self._n_others, self._shapes, self._space = n_others, shapes, None
        self._is_given = observation_space is not None
        if self._is_given:
            self._take(observation_space)

    def __deepcopy__(self, memo: object) -> "Members":
        return self

    def wire(self, observation_space: Space) -> None:
        """Learn where the members lie; a space without any is left to the model: it may take either.

        Raises:
            SpaceError: another space than before, or one without the members of the names.
        """
        if self._is_given or observation_space == self._space:
            return
        if self._space is not None:
            raise SpaceError(
                f"A model takes the members of {self._space}, to which its agent was wired, and cannot be given those "
                f"of {observation_space}. Make another agent."
            )
        if hasattr(observation_space, "spaces"):
            self._take(observation_space)
        elif self.names is not None:
            raise SpaceError(
                f"A model takes several inputs ({', '.join(self.names)}), the members of a Dict or Tuple space, but "
                f"the observation space is {observation_space}."
            )

    def _take(self, observation_space: Space) -> None:
        parts, size = parts_of(observation_space)
        if self.names is not None:
            self.names = self._matched(self.names, parts, observation_space)
        self.parts, self.size, self._space = parts, size, observation_space

    def _matched(self, names: list[str], parts: Parts, space: object) -> list[str]:
        """Return the names with those of members that are told by their shape; raise `SpaceError` where that fails."""
        n_members = len(names) - self._n_others
        if isinstance(parts, dict):
            found = names if any(name in parts for name in names) else self._by_shape(names, parts)
            if self._is_given or sum(name in parts for name in found) == n_members:
                return found
        elif self._is_given or (isinstance(parts, tuple) and len(parts) == n_members):
            return names
        members = ", ".join(parts) if isinstance(parts, dict) else f"{len(parts) if isinstance(parts, tuple) else 1}"
        raise SpaceError(
            f"A model takes {', '.join(names)}{' (the last one is the action)' if self._n_others == 1 else ''}, but "
            f"the members of the observation space {space} are {members}. Name its inputs as the members are named, or "
            f"let it take them as one {'dict' if isinstance(parts, dict) else 'tuple'}."
        )

    def _by_shape(self, names: list[str], parts: dict[str, Parts]) -> list[str]:
        """Return names of members in the place of names of inputs, where each shape is that of one of both only."""
        of_members = {name: part.shape for name, part in parts.items() if isinstance(part, Part)}
        found = list(names)
        for i, shape in enumerate(self._shapes):
            fitting = [name for name, own in of_members.items() if own == shape]
            if len(fitting) == 1 and self._shapes.count(shape) == 1:
                found[i] = fitting[0]
        return found

    def inputs(self, members: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
        """Return one input for each of `names`: the member of that name, or the next of `others`.

        Args:
            members: what `parts` was taken apart to.
            others: what is no member, in its order.

        Raises:
            SpaceError: there is neither.
        """
        if not isinstance(members, dict):
            return [*members, *others]
        rest, found = list(others), []
        for name in self.names or ():
            if name not in members and not rest:
                raise SpaceError(f"A model takes {name!r}, but the members of {self._space} are {', '.join(members)}.")
            found.append(members[name] if name in members else rest.pop(0))
        return found


def wire_models(models: Iterable[object], observation_space: Space) -> None:
    """Tell the models that take members of which space they are; see `Members.wire`."""
    for model in models:
        members = getattr(model, "members", None)
        if isinstance(members, Members):
            members.wire(observation_space)


def unwired(model: object, wrapper: str) -> ContractError:
    """Return the error for a model that takes members, and was given one array."""
    return ContractError(
        f"{type(model).__name__} takes the members of a Dict or Tuple space, but was given one array: the members, "
        f"flattened and joined. Where they are in it is known once the agent is wired to its environment, by "
        f"RLOptimizer or by the setup() of its pipeline; by hand, wrap the model: "
        f"{wrapper}(env.observation_space, model)."
    )


class _AskedForMembersError(Exception):
    """A model has treated its input as a dict, or as a tuple."""


class _Probe(dict[str, object]):
    """Stands for an observation, to see whether a model asks it for members."""

    def _asked(self, *_: object, **__: object) -> NoReturn:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.partition(".")[0] in _FRAMEWORKS:  # which look into whatever they are given
            raise TypeError("no tensor")
        raise _AskedForMembersError

    def __getitem__(self, key: object) -> NoReturn:
        if isinstance(key, str):
            raise _AskedForMembersError
        raise TypeError("no tensor")  # an array has rows, too

    __iter__ = __contains__ = __or__ = keys = values = items = get = pop = copy = _asked


_FRAMEWORKS = ("torch", "keras", "tensorflow", "optree", "tree")


def takes_members(call: Callable[..., object], n_others: int = 0) -> bool:
    """Return whether a model asks its first input for members; whatever else comes of the attempt is no answer.

    Args:
        call: of the model.
        n_others: inputs after the first.
    """
    try:
        call(_Probe(), *[None] * n_others, **({"training": False} if "training" in _needed(call) else {}))
    except _AskedForMembersError:
        return True
    except Exception:  # an array's method, or a layer that takes a tensor
        return False
    return False


def required(call: Callable[..., object]) -> list[str]:
    """Return the names of the inputs that a model's call must be given, none where that cannot be seen."""
    return [name for name in _needed(call) if name not in ("training", "mask")]


def _needed(call: Callable[..., object]) -> list[str]:
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in kinds and p.default is p.empty]


def is_recurrent(model: object) -> bool:
    """Return whether a model says how much it remembers: it is called with observations, memory and begins."""
    return isinstance(getattr(model, "memory_size", None), int)
