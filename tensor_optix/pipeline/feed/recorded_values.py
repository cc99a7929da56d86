"""Values in a recorded session that JSON has no word for: arrays and tuples."""

from collections.abc import Mapping

import numpy as np

from tensor_optix.core.types import Observation

_TUPLE = "__tuple__"


def with_tuples(observation: Observation) -> Observation:
    """Return an observation with its tuples marked, which JSON does not tell from lists."""
    if isinstance(observation, Mapping):
        return {name: with_tuples(part) for name, part in observation.items()}
    return {_TUPLE: list(map(with_tuples, observation))} if isinstance(observation, tuple) else observation


def plain(value: object) -> object:
    """Return what JSON has a word for, with a mark from which an array can be made again."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {"__array__": [value.dtype.str, list(value.shape), value.tolist()]}
    if isinstance(value, np.generic):
        return {"__array__": [value.dtype.str, None, value.item()]}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def revived(value: object) -> object:
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
