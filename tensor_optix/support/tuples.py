"""Tuples in JSON, which has none: arguments of environments ask for them, as for a shape.

{"__tuple__": [64, 48]}        stands for (64, 48)
"""

import math
from typing import TypeGuard

from tensor_optix.errors import BadDataError
from tensor_optix.support.narrowing import is_list, is_mapping, is_tuple
from tensor_optix.support.plain import Json
from tensor_optix.support.trees import Tree

_TUPLE = "__tuple__"


def tuples_as_json(value: object) -> Json:
    """Return plain JSON from which `tuples_from_json` makes an equal value.

    Args:
        value: numbers, text, lists, tuples and dicts by text, of these.

    Raises:
        BadDataError: it holds something else, which would come back changed.
    """
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if value is None or (isinstance(value, bool | int | str) and type(value) in (bool, int, str)):
        return value
    if is_tuple(value):
        return {_TUPLE: list(map(tuples_as_json, value))}
    if is_list(value):
        return list(map(tuples_as_json, value))
    if _is_dict(value) and _TUPLE not in value:
        named = {name: tuples_as_json(item) for name, item in value.items() if isinstance(name, str)}
        if len(named) == len(value):
            return named
    raise BadDataError(f"{value!r} of type {type(value).__name__} would come back from JSON as something else.")


def _is_dict(value: object) -> TypeGuard[dict[object, object]]:
    """True for a plain dict; another mapping would come back as one."""
    return type(value) is dict


def tuples_from_json(value: object) -> Tree:
    """Return a value with its tuples in place of what stands for them."""
    if is_mapping(value):
        held = value.get(_TUPLE)
        if len(value) == 1 and is_list(held):
            return tuple(map(tuples_from_json, held))
        return {name: tuples_from_json(item) for name, item in value.items()}
    return list(map(tuples_from_json, value)) if is_list(value) else value
