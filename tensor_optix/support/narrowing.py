"""`isinstance` with type arguments, for values that come from outside: what is inside stays to be checked."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """True for a mapping, of whatever."""
    return isinstance(value, Mapping)


def is_array(value: object) -> TypeGuard[Sequence[object]]:
    """True for what JSON writes as an array: a list or a tuple, of whatever."""
    return isinstance(value, list | tuple)
