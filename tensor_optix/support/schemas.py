"""What is read from disk is checked here before anything believes it: strict JSON, then fields of the right types.

The fields are those of the dataclass that is rebuilt, so there is no second list of them to keep in step: unknown and
missing ones, a bool in place of a number, and numbers that are not finite are refused by the path of the field.
"""

import dataclasses
import functools
import math
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints, overload

import msgspec

from tensor_optix.errors import CheckpointCorruptError, did_you_mean
from tensor_optix.support.narrowing import is_array, is_mapping

T = TypeVar("T")

_LARGEST = 1.7976931348623157e308
_OVERHEAD = 28 << 20
"""Bytes that decoded JSON may take beyond the length of its text."""
_PER_CONTAINER, _PER_ITEM, _PER_KEY = 100, 34, 130
"""Bytes of Python objects behind one `[` or `{`, one `,` and one `:`."""
_CONTAINERS: tuple[type, ...] = (dict, list)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*?)`")

Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Number = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
"""A finite number."""
_NUMBER_OR_NONE: object = Union[Number, None]  # noqa: UP007 - `|` is not defined for what is annotated
Loose = Annotated[Any, "a number for the most part"]
"""A number, of which None is NaN, or whatever else was saved in its place."""
SAVED_AS = "saved_as"
"""Key of a dataclass field's metadata: the type to read, where it is not the one that is declared."""


def decode_object(data: bytes, where: str) -> dict[str, object]:
    """Decode a JSON object: no NaN or infinity, no key twice, no text that takes far more memory than it has bytes.

    Raises:
        CheckpointCorruptError: it is anything else; the message begins with `where`.
    """
    containers = data.count(b"[") + data.count(b"{")
    cost = _PER_CONTAINER * containers + _PER_ITEM * data.count(b",") + _PER_KEY * data.count(b":")
    if cost > len(data) + _OVERHEAD:
        raise CheckpointCorruptError(f"{where} cannot be read as JSON: {len(data)} bytes would take {cost} in memory.")
    try:
        decoded: object = msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise CheckpointCorruptError(f"{where} cannot be read as JSON: {error}.") from error
    if not isinstance(decoded, dict):
        raise CheckpointCorruptError(f"{where} must hold a JSON object, but holds a {type(decoded).__name__}.")
    names = cast(dict[str, object], decoded)
    if _STRING.sub(b"", data).count(b":") != _count_keys(names):
        raise CheckpointCorruptError(f"{where} cannot be read as JSON: a key is there twice in one object.")
    return names


@overload
def checked(kind: type[T], data: object, where: str) -> T: ...
@overload
def checked(kind: object, data: object, where: str) -> Any: ...
def checked(kind: object, data: object, where: str) -> Any:
    """Return `data`, plain values, as a msgspec type.

    Raises:
        CheckpointCorruptError: it is none; the message names the field and what is wrong with it.
    """
    try:
        return msgspec.convert(data, kind, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise CheckpointCorruptError(f"{where}: {error}{_advice(kind, str(error))}") from error


def rebuilt(cls: type[T], data: object) -> T:
    """Return the dataclass that the plain values of its `to_dict` stand for; None is NaN in a field of numbers.

    Raises:
        CheckpointCorruptError: a field is missing, unknown, of another type or not finite; the message names it.
    """
    value = checked(wire_type(cls), data, cls.__name__)
    try:
        reader = _reader(cls)
        return value if reader is None else reader(value, "$")
    except CheckpointCorruptError as error:
        raise CheckpointCorruptError(f"{cls.__name__}: {error}") from error
    except (ValueError, TypeError, RecursionError) as error:  # the class itself refuses it, or it is too deep
        raise CheckpointCorruptError(f"{cls.__name__}: {error}.") from error


def known_only(hint: object, data: object) -> object:
    """Return plain values without the names that a dataclass, or one in it, does not have: another version's."""
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and is_mapping(data):
        return {
            name: known_only(inner, data[name]) for name, inner in hints_of(cast(type, hint)).items() if name in data
        }
    if origin in (Union, types.UnionType):
        return known_only(next(arg for arg in args if arg is not type(None)), data)
    if origin in (tuple, list) and is_array(data):
        return [known_only(args[0], item) for item in data]
    return data


def check_plain(value: object, path: str = "$") -> None:
    """Raise `CheckpointCorruptError` unless `value` is made of JSON's types, its numbers finite."""
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CheckpointCorruptError(f"{value} is not a finite number - at `{path}`")
    elif is_mapping(value):
        for name, item in value.items():
            if not isinstance(name, str):
                raise CheckpointCorruptError(f"Keys are text, but got {name!r} - at `{path}`")
            check_plain(item, f"{path}.{name}")
    elif is_array(value):
        for item in value:
            check_plain(item, f"{path}[...]")
    else:
        raise CheckpointCorruptError(f"JSON has no {type(value).__name__} - at `{path}`")


def _advice(kind: object, message: str) -> str:
    found = _UNKNOWN.search(message)
    fields = getattr(kind, "__struct_fields__", ())
    return did_you_mean(found["name"], fields) if found else ""


def _count_keys(value: dict[str, object]) -> int:
    count = 0
    waiting: list[dict[str, Any] | list[Any]] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            count += len(item)
        inside = item.values() if isinstance(item, dict) else item
        waiting += [inner for inner in inside if isinstance(inner, _CONTAINERS)]
    return count


@functools.cache
def hints_of(cls: type) -> dict[str, object]:
    """Return the type of each field of a dataclass, as it is read."""
    hints = get_type_hints(cls)
    return {field.name: field.metadata.get(SAVED_AS, hints[field.name]) for field in dataclasses.fields(cls)}


@functools.cache
def wire_type(hint: object) -> Any:
    """Return the msgspec type of the plain values of a type: a dataclass as a closed object, a float as it or null."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is float:
        return _NUMBER_OR_NONE
    if hint is int:
        return Int
    if dataclasses.is_dataclass(hint):
        return _closed_struct(cast(type, hint))
    if origin in (Union, types.UnionType):
        return Union[tuple(arg if arg is type(None) else wire_type(arg) for arg in args)]  # noqa: UP007
    if origin is tuple:
        return tuple[wire_type(args[0]), ...]
    if origin is list:
        return list[wire_type(args[0])]
    if origin is not None and issubclass(origin, Mapping):
        return dict[str, wire_type(args[1])]
    return hint


def _closed_struct(cls: type) -> Any:
    hints = hints_of(cls)
    named: list[tuple[str, object] | tuple[str, object, object]] = []
    for field in dataclasses.fields(cls):
        wire = wire_type(hints[field.name])
        if field.default_factory is not dataclasses.MISSING:
            named.append((field.name, wire, msgspec.field(default_factory=field.default_factory)))
        elif field.default is not dataclasses.MISSING:
            named.append((field.name, wire, field.default))
        else:
            named.append((field.name, wire))
    return msgspec.defstruct(cls.__name__, named, kw_only=True, forbid_unknown_fields=True)


_Reader = Callable[[Any, str], Any]
"""Takes a plain value and its path, and returns what it stands for."""


@functools.cache
def _reader(hint: object) -> _Reader | None:
    """Return what reads the plain values of a type; None where they are what they stand for."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is float:
        return _number
    if hint in (Any, Loose):
        return _loose if hint is Loose else _plain
    if dataclasses.is_dataclass(hint):
        readers = {name: _reader(inner) for name, inner in hints_of(cast(type, hint)).items()}
        return functools.partial(_object, hint, readers)
    if origin in (Union, types.UnionType):
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        return None if inner is None else functools.partial(_optional, inner)
    if origin in (tuple, list):
        return functools.partial(_items, origin, _reader(args[0]))
    if origin is not None and issubclass(origin, Mapping):
        inner = _reader(args[1])
        return None if inner is None else functools.partial(_values, inner)
    return None


def _number(value: object, _: str) -> object:
    return math.nan if value is None else value


def _plain(value: object, path: str) -> object:
    check_plain(value, path)
    return value


def _loose(value: object, path: str) -> object:
    return math.nan if value is None else _plain(value, path)


def _object(cls: Any, readers: Mapping[str, _Reader | None], value: Any, path: str) -> Any:
    if isinstance(value, cls):  # a default
        return value
    fields: dict[str, object] = {}
    for name in value.__struct_fields__:
        given, reader = getattr(value, name), readers[name]
        fields[name] = given if reader is None else reader(given, f"{path}.{name}")
    return cls(**fields)


def _optional(reader: _Reader, value: object, path: str) -> object:
    return None if value is None else reader(value, path)


def _items(kind: Any, reader: _Reader | None, value: Any, path: str) -> Any:
    return kind(value if reader is None else (reader(item, f"{path}[...]") for item in value))


def _values(reader: _Reader, value: Mapping[str, object], path: str) -> dict[str, object]:
    return {name: reader(item, f"{path}.{name}") for name, item in value.items()}
