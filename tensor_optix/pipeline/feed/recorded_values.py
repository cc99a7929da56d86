"""Values in a recorded session that JSON has no word for: arrays, tuples, and the space that observations are of."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from tensor_optix.errors import CheckpointCorruptError, FeedFatalError
from tensor_optix.support.arrays import decoded, encoded

_TUPLE = "__tuple__"


def space_to_json(space: object) -> dict[str, Any] | None:
    """Return a structured space as JSON values; None for a `Box`, whose arrays say enough, and for any other kind."""
    if isinstance(space, spaces.Box):
        return None
    try:
        return _to_json(space)
    except TypeError:
        return None


def space_from_json(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """Return the space that `space_to_json` was given.

    Raises:
        FeedFatalError: it is something else.
    """
    try:
        ((kind, content),) = data.items()
        return _FROM_JSON[kind](content)
    except (TypeError, ValueError, LookupError, AttributeError, AssertionError, CheckpointCorruptError) as error:
        raise FeedFatalError(f"The session names no observation space that is known: {error!r}.") from None


def _to_json(space: object) -> dict[str, Any]:
    if isinstance(space, spaces.Dict):
        return {"dict": [[name, _to_json(member)] for name, member in space.spaces.items()]}
    if isinstance(space, spaces.Tuple):
        return {"tuple": [_to_json(member) for member in space.spaces]}
    if isinstance(space, spaces.Box):
        return {"box": [encoded(space.low), encoded(space.high)]}
    if isinstance(space, spaces.Discrete):
        return {"discrete": [int(space.n), int(space.start)]}
    if isinstance(space, spaces.MultiDiscrete):
        return {"multi_discrete": [encoded(space.nvec), encoded(space.start)]}
    if isinstance(space, spaces.MultiBinary):
        return {"multi_binary": list(space.shape)}
    raise TypeError(f"{space} has no form in a session")


def _box(bounds: Any) -> spaces.Box:
    low, high = map(decoded, bounds)
    return spaces.Box(low, high, low.shape, low.dtype.type)


def _multi_discrete(content: Any) -> spaces.MultiDiscrete:
    nvec, start = map(decoded, content)
    return spaces.MultiDiscrete(nvec, start=start)


_FROM_JSON: Mapping[str, Callable[[Any], spaces.Space[Any]]] = {
    "dict": lambda members: spaces.Dict({name: space_from_json(member) for name, member in members}),
    "tuple": lambda members: spaces.Tuple([space_from_json(member) for member in members]),
    "box": _box,
    "discrete": lambda content: spaces.Discrete(content[0], start=content[1]),
    "multi_discrete": _multi_discrete,
    "multi_binary": lambda shape: spaces.MultiBinary(shape if len(shape) > 1 else shape[0]),
}


def with_tuples(observation: Any) -> Any:
    """Return an observation with its tuples marked, which JSON does not tell from lists."""
    if isinstance(observation, Mapping):
        return {name: with_tuples(part) for name, part in observation.items()}
    return {_TUPLE: list(map(with_tuples, observation))} if isinstance(observation, tuple) else observation


def plain(value: object) -> Any:
    """Return what JSON has a word for, with a mark from which an array can be made again."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {"__array__": [value.dtype.str, list(value.shape), value.tolist()]}
    if isinstance(value, np.generic):
        return {"__array__": [value.dtype.str, None, value.item()]}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def revived(value: object) -> Any:
    """Return what `plain` and `with_tuples` were given."""
    if isinstance(value, list):
        return [revived(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TUPLE}:
        return tuple(revived(part) for part in value[_TUPLE])
    if value.keys() == {"__array__"}:
        dtype, shape, content = value["__array__"]
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError("an array of objects")
        return kind.type(content) if shape is None else np.asarray(content, kind).reshape(shape)
    return {name: revived(part) for name, part in value.items()}
