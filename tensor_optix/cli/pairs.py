"""`KEY=VALUE` on the command line."""

import json
import math
from collections.abc import Iterable
from typing import Any

from tensor_optix.errors import InvalidArgumentError


def split_pair(pair: str, flag: str) -> tuple[str, str]:
    """Return key and value of `KEY=VALUE`.

    Args:
        pair: what was written.
        flag: where, for the message.

    Raises:
        InvalidArgumentError: it has no key, or no `=`.
    """
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise InvalidArgumentError(f"{flag} takes KEY=VALUE, but got {pair!r}.")
    return name, text


def value_of(text: str) -> Any:
    """Return what a text says as JSON; where it is none, the text."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except ValueError:
        return text


def env_kwargs_of(pairs: Iterable[str], flag: str = "--env-kwargs") -> dict[str, Any]:
    """Return the arguments of an environment; a value that is JSON is what it says, any other is text."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, text = split_pair(pair, flag)
        if not name.isidentifier():
            raise InvalidArgumentError(f"{flag} takes KEY=VALUE, but got {pair!r}.")
        arguments[name] = value_of(text)
    return arguments


def hyperparams_of(pairs: Iterable[str], flag: str = "--hp") -> dict[str, float]:
    """Return hyper-parameters; whole numbers stay whole."""
    params: dict[str, float] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if "=" not in pair or not math.isfinite(value):
            raise InvalidArgumentError(f"{flag} takes KEY=VALUE with a finite number, but got {pair!r}.")
        params[name] = int(value) if value.is_integer() and "." not in text and "e" not in text.lower() else value
    return params


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
