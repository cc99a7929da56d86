"""What a user's own function can be called with."""

import functools
import inspect
import math
from collections.abc import Callable, Collection, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

_IGNORED = "__ignored__"
_taken: MutableMapping[Callable[..., object], dict[str, bool]] = WeakKeyDictionary()
"""Found before, by function and name: to look at a signature takes longer than a step of many an environment."""


def takes(function: Callable[..., object], name: str) -> bool:
    """Return whether a function can be called with a keyword argument of that name."""
    try:
        known = _taken.setdefault(getattr(function, "__func__", function), {})
    except TypeError:  # a callable object without a hash
        known = dict[str, bool]()
    if name not in known:
        parameters = inspect.signature(function).parameters
        known[name] = name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return known[name]


def ignoring(function: Callable[..., object], name: str) -> Any:
    """Return a function that can be called with a keyword argument, which the one that it calls does not take."""

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> Any:
        kwargs.pop(name, None)
        return function(*args, **kwargs)

    setattr(call, _IGNORED, frozenset({name, *getattr(function, _IGNORED, ())}))
    return call


def needs(function: Callable[..., object], name: str) -> bool:
    """Return whether a function has a parameter of that name without a default."""
    parameter = inspect.signature(function).parameters.get(name)
    return parameter is not None and parameter.default is parameter.empty


def defaulting(function: Callable[..., object], name: str, value: object) -> Any:
    """Return a function that can be called without an argument, which the one that it calls needs."""
    parameters = inspect.signature(function).parameters
    is_keyword = parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    position = math.inf if is_keyword else list(parameters).index(name)  # each step acts: it is not looked up there

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> Any:
        if name not in kwargs and len(args) <= position:
            kwargs[name] = value
        return function(*args, **kwargs)

    return call


def ignores(function: Callable[..., object], name: str) -> bool:
    """Return whether a function comes from `ignoring`, and what it ignores has this among it."""
    return name in getattr(function, _IGNORED, ())


def required(function: Callable[..., object]) -> int:
    """Return how many positional arguments a function asks for."""
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)


def refused(function: Callable[..., object], positional: int, keywords: Collection[str] = ()) -> str | None:
    """Return the parameters of a function that cannot be called in a way, as they are written; None where it can be.

    Args:
        function: a bound method, or whatever is called.
        positional: how many arguments it is called with.
        keywords: the names of those that are passed by name.
    """
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # of C, which tells nothing
        return None
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(keywords))
    except TypeError:
        return str(signature)
    return None
