"""Plain JSON values: what is measured, as it is written to files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast, overload

import numpy as np

from tensor_optix.errors import BadDataError
from tensor_optix.support.arguments import is_number
from tensor_optix.support.narrowing import is_array, is_list, is_mapping, is_tuple

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What JSON holds."""
SavedState: TypeAlias = Mapping[str, Any]
"""What was saved of an object, as JSON holds it, for whoever restores it to check."""
AS_THEY_ARE = frozenset((bool, int, str, type(None)))
"""Types whose values JSON takes as they are; a state that is saved between windows has a thousand of them."""


@overload
def jsonable(value: Mapping[str, object]) -> dict[str, Json]: ...
@overload
def jsonable(value: object) -> Json: ...
def jsonable(value: object) -> Json:
    """Return `value` in plain JSON types: numpy unwrapped, NaN and infinities as None.

    Raises:
        BadDataError: it holds something that JSON has no word for.
    """
    if type(value) in AS_THEY_ARE:
        return cast(Json, value)
    if type(value) is float:
        return value if math.isfinite(value) else None
    if is_list(value) or is_tuple(value):
        return cast(Json, [item if type(item) in AS_THEY_ARE else jsonable(item) for item in value])
    if isinstance(value, np.generic | np.ndarray):
        value = cast(np.ndarray, value).tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_mapping(value):
        members = {str(name): item if type(item) in AS_THEY_ARE else jsonable(item) for name, item in value.items()}
        return cast(Json, members)
    if is_array(value):
        return [jsonable(item) for item in value]
    raise BadDataError(f"{value!r} of type {type(value).__name__} cannot be saved as JSON; use numbers, text or lists.")


def numeric_items(mapping: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """Yield the entries of `mapping` that are real numbers, as floats."""
    for name, value in mapping.items():
        if is_number(value):
            yield name, float(value)
