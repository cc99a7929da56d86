"""`isinstance` with type arguments, for values that come from outside: what is inside stays to be checked."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard

_MAPPINGS = (dict, Mapping)
"""A dict is told at once; others are searched for."""


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """True for a mapping, of whatever."""
    return isinstance(value, _MAPPINGS)


def is_array(value: object) -> TypeGuard[Sequence[object]]:
    """True for what JSON writes as an array: a list or a tuple, of whatever."""
    return isinstance(value, list | tuple)


def is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    """True for a plain tuple, of whatever; a named one is a value of its own."""
    return type(value) is tuple


def is_list(value: object) -> TypeGuard[list[object]]:
    """True for a plain list, of whatever."""
    return type(value) is list
