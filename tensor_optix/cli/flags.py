"""Flags of the command line, made from a list of settings, and what was given by them."""

import argparse
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, get_args, get_origin

from tensor_optix._settings import NamedSetting

Given: TypeAlias = dict[str, Any]
"""Settings by name: those that were given, and no others."""


def add_settings(
    command: argparse.ArgumentParser, settings: Iterable[NamedSetting], otherwise: str | None = None
) -> None:
    """Add a flag for each setting; one that is not given leaves no trace in the parsed arguments.

    Args:
        command: the parser.
        settings: what to add.
        otherwise: what holds for each that is not given; None = its own default.
    """
    for one in settings:
        default = otherwise if otherwise is not None else default_of(one)
        help_ = one.about.help + (f" (default: {default})" if default else "")
        if one.about.is_positional:
            command.add_argument(one.name, nargs="?", default=argparse.SUPPRESS, help=help_, metavar=one.about.metavar)
        else:
            command.add_argument(
                *one.flags, dest=one.name, default=argparse.SUPPRESS, help=help_.replace("%", "%%"), **_how(one)
            )


def whole(text: str) -> int:
    """Return the whole number that a text is, written as 1000000, 1_000_000 or 1e6.

    Raises:
        ArgumentTypeError: it is none.
    """
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (number := float(text)).is_integer():
            return int(number)
    raise argparse.ArgumentTypeError(f"must be a whole number, such as 1000000 or 1e6, but got {text!r}")


def given_by_flags(args: argparse.Namespace, settings: Iterable[NamedSetting]) -> Given:
    """Return the settings that were given as flags."""
    return {one.name: getattr(args, one.name) for one in settings if hasattr(args, one.name)}


def default_of(one: NamedSetting) -> str:
    """Return in words what holds where a setting is not given; empty for nothing."""
    if one.about.otherwise or one.default is None:
        return one.about.otherwise
    if isinstance(one.default, bool):
        return "yes" if one.default else "no"
    return str(one.default) if one.default or one.default == 0 else ""


def _how(one: NamedSetting) -> Given:
    """Return how `argparse` reads a setting."""
    kind = one.kind
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    how: Given = {"metavar": one.about.metavar}
    if one.about.choices:
        return {"choices": one.about.choices, "metavar": None}
    if kind is dict or kind == list[str]:
        return {**how, "action": "append"}
    if get_origin(kind) is list:
        return {**how, "nargs": "+", "type": _reader(get_args(kind)[0])}
    return {**how, "type": _or_word(kind, one.about.word) if one.about.word else _reader(kind)}


def _reader(kind: Callable[[str], object]) -> Callable[[str], object]:
    return whole if kind is int else kind


def _or_word(kind: Callable[[str], object], word: str) -> Callable[[str], object]:
    """Return what reads a value, or the word in its place."""

    def read(text: str) -> object:
        try:
            return text if text == word else _reader(kind)(text)
        except (ValueError, argparse.ArgumentTypeError):
            raise argparse.ArgumentTypeError(f"must be a whole number or {word!r}, but got {text!r}") from None

    return read
