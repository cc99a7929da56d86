"""One-hot rows as the places of their ones: the product of such a row with a matrix is a row of the matrix."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np

_Array = TypeVar("_Array")
_FROM = 64
"""Columns from which a row of the weights is had sooner than the product."""


def with_places(
    data: Mapping[str, _Array], names: Collection[str]
) -> tuple[dict[str, _Array | np.ndarray], dict[str, int]]:
    """Return arrays with those of one-hot rows among the named ones as their places, and how many columns each had."""
    found: dict[str, _Array | np.ndarray] = dict(data)
    columns: dict[str, int] = {}
    for name in names:
        places = places_in(data[name])
        if places is not None:
            found[name], columns[name] = places, np.asarray(data[name]).shape[-1]
    return found, columns


def places_in(rows: object) -> np.ndarray | None:
    """Return the places (...) of the ones in one-hot rows (..., n) of float32, None where they are others, or short."""
    if not isinstance(rows, np.ndarray) or rows.dtype != np.float32 or rows.ndim < 2 or rows.shape[-1] < _FROM:
        return None
    if not rows.size or not rows.flags.c_contiguous:
        return None
    shape, rows = rows.shape[:-1], rows.reshape(-1, rows.shape[-1])
    # Integers are counted in a fifth of the time; the first row tells of nearly all that are others.
    bits = rows.view(np.int32)
    if np.count_nonzero(bits[0]) != 1 or np.count_nonzero(bits) != len(rows):
        return None
    places = rows.argmax(-1)
    return places.reshape(shape) if (rows[np.arange(len(rows)), places] == 1.0).all() else None
