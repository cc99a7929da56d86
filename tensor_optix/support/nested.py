"""Nested values as JSON values, bit for bit: numbers, strings, arrays, and lists, tuples and dictionaries of them."""

from typing import Any, cast

import numpy as np

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.arrays import decoded, encoded
from tensor_optix.support.plain import Json

_PLAIN: tuple[type, ...] = (type(None), bool, int, str)


def packed(value: Any) -> Json:
    """Return a nested value as JSON values.

    Raises:
        TypeError: something in it is of another kind.
    """
    kind = cast("type[Any]", type(value))
    if kind in _PLAIN:
        return value
    if kind is float:
        return {"float": value.hex()}
    if issubclass(kind, np.generic):
        return {"scalar": encoded(np.asarray(value))}
    if kind is np.ndarray:
        return {"array": encoded(value)}
    if kind in (list, tuple):
        return {kind.__name__: [packed(part) for part in value]}
    if kind is dict:
        return {"dict": [[packed(key), packed(part)] for key, part in value.items()]}
    raise TypeError(f"A {kind.__name__} cannot be saved, only numbers, strings, arrays, lists, tuples and dicts.")


def packed_or_none(value: object) -> Json:
    """Return a nested value as JSON values, None where something in it is of a kind that cannot be saved."""
    try:
        return packed(value)
    except TypeError:
        return None


def unpacked(data: Any) -> Any:
    """Return the value that `packed` was given.

    Raises:
        CheckpointCorruptError: `data` is not what `packed` returns.
    """
    if type(data) in _PLAIN:
        return data
    try:
        ((kind, content),) = data.items()
        return _unpacked(kind, content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointCorruptError(f"A saved value is not one that was saved here: {error!r}.") from error


def _unpacked(kind: str, content: Any) -> object:
    match kind:
        case "float":
            return float.fromhex(content)
        case "scalar":
            return decoded(content)[()]
        case "array":
            return decoded(content)
        case "list":
            return [unpacked(part) for part in content]
        case "tuple":
            return tuple(unpacked(part) for part in content)
        case "dict":
            return {unpacked(key): unpacked(part) for key, part in content}
        case _:
            raise KeyError(kind)
