"""Spaces as plain JSON values, so that a policy says what it sees and what it does without its environment.

Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of them. What is read is not trusted: kinds, sizes and
depth are bounded before a space is made.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.arguments import is_whole
from tensor_optix.support.narrowing import is_mapping
from tensor_optix.support.plain import Json, SavedState

MAX_ELEMENTS = 1 << 24
"""Numbers in an observation or action."""
_MAX_DEPTH = 16
_MAX_MEMBERS = 4096
_DTYPES = frozenset(np.dtype(kind).name for kind in "?bhilqBHILQefd")
_INFINITE = {"inf": math.inf, "-inf": -math.inf}


def space_to_json(space: object) -> dict[str, Json] | None:
    """Return a space as plain JSON values; None for one of another kind, or none at all."""
    match space:
        case spaces.Box():
            bounds = {name: _numbers(getattr(space, name)) for name in ("low", "high")}
            return {"type": "Box", "shape": list(space.shape), "dtype": space.dtype.name, **bounds}
        case spaces.Discrete():
            return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            starts = _numbers(np.broadcast_to(space.start, space.shape))
            return {"type": "MultiDiscrete", "shape": list(space.shape), "nvec": _numbers(space.nvec), "start": starts}
        case spaces.MultiBinary():
            return {"type": "MultiBinary", "n": space.n if is_whole(space.n) else list(space.shape)}
        case spaces.Dict():
            members = [[name, space_to_json(member)] for name, member in space.spaces.items()]
            known = all(isinstance(name, str) and member is not None for name, member in members)
            return {"type": "Dict", "members": members} if known else None
        case spaces.Tuple():
            parts = [space_to_json(member) for member in space.spaces]
            return {"type": "Tuple", "members": parts} if None not in parts else None
        case _:
            return None


def space_from_json(data: object, depth: int = 0) -> spaces.Space[object]:
    """Return the space that `space_to_json` wrote.

    Args:
        data: the JSON values.
        depth: of the structure that it is part of.

    Raises:
        CheckpointCorruptError: they are none of a space, or of one beyond all bounds.
    """
    if not is_mapping(data) or depth > _MAX_DEPTH:
        raise CheckpointCorruptError(f"A space was expected, but got {data!r:.80}.")
    try:
        return _made({str(name): value for name, value in data.items()}, depth)
    except (KeyError, TypeError, ValueError, OverflowError, AssertionError) as error:
        raise CheckpointCorruptError(f"{data!r:.80} is no space: {error!r:.200}.") from error


def _made(data: SavedState, depth: int) -> spaces.Space[object]:
    match data["type"]:
        case "Box":
            if data["dtype"] not in _DTYPES:
                raise ValueError(f"the type {data['dtype']!r:.40} is not one of numbers")
            shape, dtype = _shape(data), np.dtype(data["dtype"])
            low, high = (_array(data[name], shape, dtype) for name in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            return spaces.Discrete(_count(data["n"]), start=int(data["start"]))
        case "MultiDiscrete":
            nvec, start = (_array(data[name], _shape(data), np.dtype(np.int64)) for name in ("nvec", "start"))
            return spaces.MultiDiscrete(nvec, start=start)
        case "MultiBinary":
            return spaces.MultiBinary(_count(data["n"]) if is_whole(data["n"]) else _shape({"shape": data["n"]}))
        case "Dict":
            members = _members(data)
            # Ordered: a plain dict is sorted, and the order is that of the flattened numbers.
            return spaces.Dict(OrderedDict((str(name), space_from_json(member, depth + 1)) for name, member in members))
        case "Tuple":
            return spaces.Tuple([space_from_json(member, depth + 1) for member in _members(data)])
        case other:
            raise ValueError(f"there is no space {other!r:.40}")


def _numbers(array: np.ndarray) -> Json:
    """Return an array as one number where all are the same, else as a flat list; infinities are words."""
    flat = [_number(value) for value in np.asarray(array).reshape(-1).tolist()]
    return flat[0] if flat and all(value == flat[0] for value in flat) else flat


def _number(value: float) -> float | str:
    return next((word for word, infinite in _INFINITE.items() if value == infinite), value)


def _array(data: object, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> np.ndarray:
    values = data if isinstance(data, list) else [data]
    numbers = [_INFINITE[value] if isinstance(value, str) else value for value in values]
    if not all(isinstance(value, int | float) for value in numbers):
        raise TypeError("a bound is no number")
    array = np.array(numbers, dtype)
    return array.reshape(shape) if isinstance(data, list) else np.full(shape, array[0])


def _shape(data: SavedState) -> tuple[int, ...]:
    shape = tuple(data["shape"])
    if len(shape) > 32 or not all(is_whole(axis) and axis >= 0 for axis in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"the shape is {shape!r:.80}")
    return shape


def _count(value: object) -> int:
    if not (is_whole(value) and 1 <= value <= MAX_ELEMENTS):
        raise ValueError(f"the number of choices is {value!r:.40}")
    return int(value)


def _members(data: SavedState) -> Sequence[Any]:
    members = data["members"]
    if not isinstance(members, list) or len(members) > _MAX_MEMBERS:
        raise ValueError(f"the members are {members!r:.80}")
    return members
