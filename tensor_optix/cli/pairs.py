"""Hyper-parameters on the command line."""

import math
from collections.abc import Iterable

from tensor_optix.core.decisions.schedules import is_schedule
from tensor_optix.errors import InvalidArgumentError


def hyperparams_of(pairs: Iterable[str], flag: str = "--hp") -> dict[str, float | str]:
    """Return hyper-parameters of `KEY=VALUE`; whole numbers stay whole, and schedules text."""
    params: dict[str, float | str] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if is_schedule(text):
            params[name] = text
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if "=" not in pair or not math.isfinite(value):
            raise InvalidArgumentError(
                f"{flag} takes KEY=VALUE with a finite number, or a schedule such as lin_3e-4, but got {pair!r}."
            )
        params[name] = int(value) if value.is_integer() and "." not in text and "e" not in text.lower() else value
    return params
