"""What a user's own function can be called with."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

_IGNORED = "__ignored__"


def takes(function: Callable[..., object], name: str) -> bool:
    """Return whether a function can be called with a keyword argument of that name."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def ignoring(function: Callable[..., Any], name: str) -> Any:
    """Return a function that can be called with a keyword argument, which the one that it calls does not take."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop(name, None)
        return function(*args, **kwargs)

    setattr(call, _IGNORED, name)
    return call


def ignores(function: Callable[..., object], name: str) -> bool:
    """Return whether a function comes from `ignoring`, and what it ignores is this."""
    return getattr(function, _IGNORED, None) == name


def required(function: Callable[..., object]) -> int:
    """Return how many positional arguments a function asks for."""
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)
