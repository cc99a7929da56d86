"""Checks of plain arguments, with one wording for all constructors."""

import math
from typing import TypeGuard

import numpy as np

from tensor_optix.errors import InvalidArgumentError


class Default(int):
    """A whole number that an argument has by default, to be told from the same number passed by hand."""


def check_count(name: str, value: object, least: int) -> None:
    """Raise `InvalidArgumentError` unless `value` is a whole number of at least `least`."""
    if not (is_whole(value) and value >= least):
        raise InvalidArgumentError(f"{name} must be a whole number of at least {least}, but got {value!r}.")


def check_seed(seed: object) -> None:
    """Raise `InvalidArgumentError` unless `seed` is None or a whole number of at least 0."""
    if seed is not None:
        check_count("seed", seed, 0)


def check_flags(**flags: object) -> None:
    """Raise `InvalidArgumentError` unless each value is True or False, or 1 or 0: the text "no" would mean yes."""
    for name, value in flags.items():
        if not (isinstance(value, bool | np.bool_) or (is_whole(value) and value in (0, 1))):
            raise InvalidArgumentError(f"{name} must be True or False, but got {value!r}.")


def check_amount(name: str, value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is a finite number of at least 0."""
    if not (is_real(value) and value >= 0.0):
        raise InvalidArgumentError(f"{name} must be a finite number of at least 0, but got {value!r}.")


def check_threshold(name: str, value: object, least: float = -math.inf) -> None:
    """Raise `InvalidArgumentError` unless `value` is a number of at least `least`; infinity means never."""
    if not (is_number(value) and value >= least):
        beyond = "" if least == -math.inf else f" of at least {least:g}"
        raise InvalidArgumentError(f"{name} must be a number{beyond}, but got {value!r}.")


def is_real(value: object) -> TypeGuard[float]:
    """True for a finite int or float, of Python or numpy; a bool is not a number."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """True for an int of Python or numpy; a bool is not a number."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """True for an int or float, of Python or numpy, finite or not; a bool is not a number."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
