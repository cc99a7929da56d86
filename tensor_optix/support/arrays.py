"""Arrays as JSON values, bit for bit, for states that are saved between windows."""

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.narrowing import is_mapping, is_tuple
from tensor_optix.support.plain import Json, SavedState
from tensor_optix.support.trees import Tree

_KINDS = "biuf"
"""Booleans, integers and floats: what can be read back without running anything."""


def encoded(tree: Tree) -> dict[str, Json]:
    """Return an array of numbers or of text, or a tree of them (`support.trees`), as JSON values.

    Raises:
        TypeError: it holds something else, or a dict has other names than text.
    """
    if is_mapping(tree):
        if not all(isinstance(name, str) for name in tree):
            raise TypeError(f"A dict with the names {list(tree)} cannot be saved, only one with text for names.")
        return {"dict": {str(name): encoded(part) for name, part in tree.items()}}
    if is_tuple(tree):
        return {"tuple": [encoded(part) for part in tree]}
    array = np.asarray(tree)
    if array.dtype.kind in "OU" and all(isinstance(part, str) for part in array.flat):
        return {"text": [str(part) for part in array.flat], "shape": list(array.shape)}
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"An array of {array.dtype} cannot be saved, only booleans, integers, floats and text.")
    text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": text}


def decoded(data: Any) -> Tree:
    """Return what `encoded` was given, its arrays as ones that may be written to.

    Raises:
        CheckpointCorruptError: `data` is not what `encoded` returns.
    """
    parts: Any = data.get("dict")
    if is_mapping(parts):
        return {name: decoded(part) for name, part in parts.items()}
    if "tuple" in data:
        return tuple(decoded(part) for part in data["tuple"])
    if "text" in data:
        return _text(data)
    try:
        dtype, shape = np.dtype(data["dtype"]), tuple(int(size) for size in data["shape"])
        raw = base64.b64decode(data["base64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise CheckpointCorruptError(f"A saved array needs dtype, shape and base64, but: {error!r}.") from error
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(raw):
        raise CheckpointCorruptError(f"A saved array of {dtype} {shape} cannot have {len(raw)} bytes.")
    return np.frombuffer(raw, dtype).reshape(shape).copy()


def _text(data: SavedState) -> np.ndarray:
    try:
        texts, shape = list(data["text"]), tuple(int(size) for size in data["shape"])
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("it holds something else")
        found = np.empty(len(texts), object)
        found[:] = texts
        return found.reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointCorruptError(f"A saved array of text needs text and shape, but: {error!r}.") from error


def generator_state(generator: np.random.Generator) -> dict[str, object]:
    """Return where a numpy generator stands, as JSON values."""
    return _with_arrays(generator.bit_generator.state, lambda value: isinstance(value, np.ndarray), encoded)


def restore_generator(generator: np.random.Generator, state: Mapping[str, object]) -> None:
    """Let a generator of the same kind go on from `generator_state`.

    Raises:
        CheckpointCorruptError: the state is of another kind, or none.
    """
    try:
        generator.bit_generator.state = _with_arrays(
            state, lambda value: is_mapping(value) and "base64" in value, decoded
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointCorruptError(f"The saved state of a random generator does not fit: {error!r}.") from error


def _with_arrays(value: object, is_array: Callable[[object], bool], convert: Callable[[Any], object]) -> Any:
    """Return a nested state with its arrays converted."""
    if is_array(value):
        return convert(value)
    if is_mapping(value):
        return {name: _with_arrays(inner, is_array, convert) for name, inner in value.items()}
    return value
