"""Lets an object work on a copy of its state: what a block changes in its attributes is undone after it.

The object keeps its identity, and so does everything that it refers to: closures over it, bound methods and whoever
else holds it see the same object. Only the values in its attributes are exchanged for copies while the block lasts.
What is too large to be copied, and what cannot be, is shared: weights, optimizers, files, locks.
"""

import collections
import copy
import functools
import random
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

LARGEST_ARRAY = 16 << 20
"""Bytes; a larger array is shared."""
LARGEST_CONTAINER = 10_000
"""Entries; a larger container is shared."""
_CONTAINERS = (list, dict, set, collections.deque)
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
_LEAVES = (
    *_PLAIN,
    type,
    np.generic,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    np.random.Generator,
    np.random.RandomState,
    random.Random,
)
_FOREIGN = ("tensor_optix", "gymnasium", "logging", "threading", "torch.optim", "keras", "tensorflow")
"""Packages whose objects are not looked into: they have no memory of an agent's, or keep their state elsewhere."""


class Variable(Protocol):
    """A variable of TensorFlow's or Keras'."""

    def numpy(self) -> np.ndarray:
        """Return its value."""
        ...

    def assign(self, value: np.ndarray) -> object:
        """Give it another value."""
        ...


@dataclass(frozen=True)
class Leftover:
    """What a block has changed, and `Preserved` has undone."""

    attributes: list[tuple[dict[str, object], str, object]] = field(
        default_factory=list[tuple[dict[str, object], str, object]]
    )
    """(attributes, name, value that the block left there; `ABSENT` where it deleted it)"""
    variables: list[tuple[Variable, np.ndarray]] = field(default_factory=list[tuple[Variable, np.ndarray]])
    """(a framework's variable, the value that the block left there)"""

    def __bool__(self) -> bool:
        return bool(self.attributes or self.variables)


class Preserved:
    """A context manager: within it `targets` work on copies of their state, after it they are what they were.

        with Preserved([agent]) as preserved:
            agent.act(observation)
        preserved.has_changed  # whether acting has left anything behind

    Random generators run on: what is drawn within the block is drawn once.

    Args:
        targets: objects with attributes; what these refer to is preserved with them.
        going_on: what an earlier block has left, with which this one begins.
    """

    def __init__(self, targets: Sequence[object], going_on: Leftover | None = None) -> None:
        self._targets = targets
        self._going_on = going_on or Leftover()
        self._kept: list[tuple[dict[str, object], dict[str, object]]] = []
        """(attributes, what they held before)"""
        self._variables: list[tuple[Variable, np.ndarray]] = []
        """(a framework's variable, its value before)"""
        self.leftover = Leftover()
        """What the block has changed; known when it has ended."""

    @property
    def has_changed(self) -> bool:
        """Whether the block has changed anything; known when it has ended."""
        return bool(self.leftover)

    def __enter__(self) -> Self:
        copies: dict[int, object] = {}
        for holder in list(_holders(self._targets)):
            if isinstance(holder, _State):
                self._variables.append((holder.variable, np.array(holder.variable.numpy())))
                continue
            originals = dict(holder)
            self._kept.append((holder, originals))
            holder.update({name: _copied(value, copies) for name, value in originals.items() if _is_own(name, holder)})
        self._go_on()
        return self

    def _go_on(self) -> None:
        reached = {id(attributes) for attributes, _ in self._kept}
        for attributes, name, value in self._going_on.attributes:
            if id(attributes) in reached:
                _put(attributes, name, value)
        states = {id(variable) for variable, _ in self._variables}
        for variable, value in self._going_on.variables:
            if id(variable) in states:
                variable.assign(value)

    def __exit__(self, *_: object) -> None:
        changed = [
            (attributes, name, attributes.get(name, ABSENT))
            for attributes, originals in self._kept
            for name in {**originals, **attributes}
            if not _is_same(originals.get(name, ABSENT), attributes.get(name, ABSENT))
        ]
        assigned = [
            (variable, now)
            for variable, value in self._variables
            if not np.array_equal(value, now := np.array(variable.numpy()))
        ]
        self.leftover = Leftover(changed, assigned)
        for attributes, originals in self._kept:
            for name in attributes.keys() - originals.keys():
                del attributes[name]
            attributes.update(originals)
        for variable, value in self._variables:
            variable.assign(value)
        self._kept, self._variables = [], []


class Watched:
    """A context manager that tells which attributes of `targets` its block has changed, and leaves them alone.

        with Watched([agent]) as watched:
            agent.act(observation)
        watched.changes  # {"steps": (3, 4)}

    Args:
        targets: objects with attributes; what these refer to is watched with them.
    """

    def __init__(self, targets: Sequence[object]) -> None:
        self._targets = targets
        self._before: list[tuple[dict[str, object], dict[str, object]]] = []
        """(attributes, copies of what they held before)"""
        self.changes: dict[str, tuple[object, object]] = {}
        """What attributes held before and hold now, by name; `ABSENT` where there was, or is, none."""

    def __enter__(self) -> Self:
        copies: dict[int, object] = {}
        for holder in _holders(self._targets):
            if not isinstance(holder, _State):
                own = {name: value for name, value in holder.items() if _is_own(name, holder)}
                self._before.append((holder, {name: _copied(value, copies) for name, value in own.items()}))
        return self

    def __exit__(self, *_: object) -> None:
        for holder, before in self._before:
            for name in {**before, **holder}:
                was, now = before.get(name, ABSENT), holder.get(name, ABSENT)
                if _is_own(name, holder) and not _is_same(was, now):
                    self.changes[name] = (was, now)
        self._before = []


class _State:
    """A variable of a framework in which a layer keeps its state."""

    def __init__(self, variable: Variable) -> None:
        self.variable = variable


ABSENT = object()
"""Stands for an attribute that there is not."""


def _put(attributes: dict[str, object], name: str, value: object) -> None:
    if value is ABSENT:
        attributes.pop(name, None)
    else:
        attributes[name] = value


def _is_own(name: str, holder: Mapping[str, object]) -> bool:
    """Return False for what a PyTorch module keeps its books in: its buffers are looked at by themselves."""
    return not (name.startswith("_") and "_parameters" in holder and "_modules" in holder)


def _holders(targets: Sequence[object]) -> Iterator[Any]:
    """Yield the attributes (a dictionary) of each object that is reached, and the state of layers that have one."""
    waiting: list[Any] = list(targets)
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or _is_of(value, _LEAVES):
            continue
        seen.add(id(value))
        if _is_of(value, (*_CONTAINERS, tuple)):
            if len(value) <= LARGEST_CONTAINER:
                inner = value.values() if _is_of(value, (dict,)) else value
                waiting += [one for one in inner if type(one) not in _PLAIN]
            continue
        if callable(getattr(value, "stateless_call", None)):  # a Keras layer or model
            yield from map(_State, _keras_state(value))
        attributes: Any = getattr(value, "__dict__", None)
        if not _is_of(attributes, (dict,)) or type(value).__module__.startswith(_FOREIGN):
            continue
        yield attributes
        if "_parameters" in attributes and "_modules" in attributes:
            yield attributes["_buffers"]
            waiting += attributes["_modules"].values()
        waiting += [inner for name, inner in attributes.items() if _is_own(name, attributes)]


def _keras_state(layer: Any) -> list[Any]:
    """Return the variables that a Keras layer changes when it is called: running statistics, recurrent states."""
    layers = layer._flatten_layers() if hasattr(layer, "_flatten_layers") else [layer]
    states = [state for one in layers for state in getattr(one, "states", None) or () if hasattr(state, "assign")]
    return [*getattr(layer, "non_trainable_weights", ()), *states]


def _is_of(value: object, kinds: tuple[type, ...]) -> bool:
    """Return `isinstance`, without which type checkers know less of the value afterwards than before."""
    return isinstance(value, kinds)


def _copied(value: object, copies: dict[int, object]) -> object:
    """Return a copy of a value, or the value itself where it never changes or is shared."""
    if type(value) in _PLAIN or _is_of(value, _LEAVES):
        return value
    if id(value) not in copies:
        copies[id(value)] = _copy_of(value, copies)
    return copies[id(value)]


def _copy_of(value: Any, copies: dict[int, object]) -> Any:
    if _is_of(value, (np.ndarray,)):
        return value.copy() if value.nbytes <= LARGEST_ARRAY else value
    if _is_of(value, (tuple,)):
        parts = [_copied(part, copies) for part in value]
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)  # type: ignore[attr-defined]
    if _is_of(value, _CONTAINERS) and not type(value).__module__.startswith(_FOREIGN):
        return _container_like(value, copies) if len(value) <= LARGEST_CONTAINER else value
    if _is_tensor(value) and not value.requires_grad and value.nbytes <= LARGEST_ARRAY:
        return value.detach().clone()
    return value


def _container_like(value: Any, copies: dict[int, object]) -> Any:
    made = copies[id(value)] = copy.copy(value)  # it may hold itself
    if _is_of(value, (dict,)):
        made.update({key: _copied(part, copies) for key, part in value.items() if type(part) not in _PLAIN})
    elif not _is_of(value, (set,)):  # what is in a set cannot change
        for i, part in enumerate(value):
            if type(part) not in _PLAIN:
                made[i] = _copied(part, copies)
    return made


def _is_tensor(value: object) -> bool:
    """Return True for a PyTorch tensor, which can be changed in place; TensorFlow's cannot."""
    return all(hasattr(value, name) for name in ("requires_grad", "detach", "clone", "nbytes"))


def _is_same(before: Any, now: Any) -> bool:
    if before is now:
        return True
    if type(before) is not type(now):
        return False
    if _is_of(before, (np.ndarray,)) or _is_tensor(before) or hasattr(before, "__array__"):
        first, second = _numbers(before), _numbers(now)
        return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
    if _is_of(before, (dict,)):
        return before.keys() == now.keys() and all(_is_same(before[key], now[key]) for key in before)
    if _is_of(before, (list, tuple, collections.deque)):
        return len(before) == len(now) and all(map(_is_same, before, now))
    try:
        return bool(before == now)
    except Exception:  # an object of the user's: what cannot be compared counts as changed
        return False


def _numbers(array: Any) -> np.ndarray:
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
