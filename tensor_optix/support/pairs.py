"""`KEY=VALUE`, as it is written on a command line."""

import ast
import json
from collections.abc import Iterable
from typing import NoReturn

from tensor_optix.errors import BadDataError, InvalidArgumentError
from tensor_optix.support.plain import Json
from tensor_optix.support.tuples import tuples_as_json


def split_pair(pair: str, where: str) -> tuple[str, str]:
    """Return key and value of `KEY=VALUE`.

    Args:
        pair: what was written.
        where: the flag, for the message.

    Raises:
        InvalidArgumentError: it has no key, or no `=`.
    """
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise InvalidArgumentError(f"{where} takes KEY=VALUE, but got {pair!r}.")
    return name, text


def value_of(text: str) -> Json:
    """Return what a text says as JSON; where it is none, the text."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def arguments_of(pairs: Iterable[str], where: str) -> dict[str, Json]:
    """Return keyword arguments; a value that is JSON or a Python literal is what it says, any other is text.

    Tuples are as `support.tuples` writes them.

    Args:
        pairs: each `KEY=VALUE`.
        where: the flag, for the message.

    Raises:
        InvalidArgumentError: a pair is none, or its key cannot be the name of an argument.
    """
    arguments: dict[str, Json] = {}
    for pair in pairs:
        name, text = split_pair(pair, where)
        if not name.isidentifier():
            raise InvalidArgumentError(f"{where} takes KEY=VALUE, but got {pair!r}.")
        arguments[name] = _argument_of(text)
    return arguments


def _argument_of(text: str) -> Json:
    value = value_of(text)
    if value is not text or not text.startswith(("(", "[", "{")):
        return value
    try:
        return tuples_as_json(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, BadDataError):
        return text


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
