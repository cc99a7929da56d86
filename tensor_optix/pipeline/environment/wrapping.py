"""Wrappers that are named by their place, so that a run can be made again from its description.

minigrid.wrappers:FlatObsWrapper                            a class, or a function of an environment, in a module
gymnasium.wrappers:TimeLimit:max_episode_steps=100          with arguments, each JSON or text
my_wrappers.py:Clip:low=-1,high=1                           in a file, from the current folder
"""

import contextlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Self

import gymnasium as gym
import numpy as np

from tensor_optix.errors import ContractError, EnvironmentNotFoundError, InvalidArgumentError, did_you_mean
from tensor_optix.pipeline.environment.changes import WATCHING_WRAPPERS
from tensor_optix.pipeline.environment.own_code import imported
from tensor_optix.support.pairs import arguments_of
from tensor_optix.support.tuples import tuples_from_json

_PLACE = re.compile(r"(?P<code>.+?\.py|[\w.]+):(?P<name>[A-Za-z_]\w*)(:(?P<arguments>.*))?\Z", re.DOTALL)
_NEXT_ARGUMENT = re.compile(r",(?=[A-Za-z_]\w*=)")
_GYMNASIUM = "gymnasium.wrappers"


@dataclass(frozen=True, kw_only=True)
class WrapperPlace:
    """Where a wrapper is, and what it is made with."""

    code: str
    """Module or file that is imported."""
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the place that a text names.

        Raises:
            InvalidArgumentError: it names none.
        """
        found = _PLACE.match(text)
        if found is None:
            raise InvalidArgumentError(
                f"A wrapper is named module:Wrapper or file.py:Wrapper, with arguments module:Wrapper:KEY=VALUE,"
                f"KEY=VALUE, but got {text!r}."
            )
        pairs = _NEXT_ARGUMENT.split(found["arguments"]) if found["arguments"] else []
        arguments = tuples_from_json(arguments_of(pairs, f"wrapper {found['name']}"))
        return cls(code=found["code"], name=found["name"], arguments=arguments)

    @property
    def is_gymnasiums(self) -> bool:
        """True for a wrapper of Gymnasium's own that neither writes files nor opens windows."""
        found = getattr(gym.wrappers, self.name, None) if self.code == _GYMNASIUM else None
        is_wrapper = isinstance(found, type) and issubclass(found, gym.Wrapper)
        return is_wrapper and self.name not in WATCHING_WRAPPERS

    def around(self, env: gym.Env) -> gym.Env:
        """Return an environment with this wrapper around it.

        Raises:
            EnvironmentNotFoundError: the code cannot be imported, or has no such wrapper.
            InvalidArgumentError: the wrapper takes other arguments, or refuses the environment.
            ContractError: what it returns is no environment.
        """
        module = imported(self.code)
        wrapper = getattr(module, self.name, None)
        if not callable(wrapper):
            known = _wrappers_in(module)
            raise EnvironmentNotFoundError(
                f"{self.code!r} has no wrapper {self.name!r}.{did_you_mean(self.name, known)} It has: "
                f"{', '.join(known) or 'none'}."
            )
        try:
            made = _made(wrapper, env, self.arguments)
        except Exception as error:  # whatever its own code raises
            raise InvalidArgumentError(
                f"Wrapper {self.name} of {self.code!r} cannot be put around {env}: {type(error).__name__}: {error}. "
                f"Arguments are given as {self.code}:{self.name}:KEY=VALUE,KEY=VALUE."
            ) from error
        if not isinstance(made, gym.Env):
            raise ContractError(f"{self.name} of {self.code!r} must return an environment, but got {made!r}.")
        return made


def wrapped(env: gym.Env, wrappers: Sequence[str]) -> gym.Env:
    """Return an environment with wrappers around it, the first one innermost; it is closed where one cannot be.

    Args:
        env: the environment.
        wrappers: their places, see `WrapperPlace`.
    """
    try:
        for text in wrappers:
            env = WrapperPlace.of(text).around(env)
    except Exception:
        env.close()
        raise
    return env


def _made(wrapper: Callable[..., object], env: gym.Env, arguments: Mapping[str, object]) -> object:
    """Return what a wrapper makes of an environment.

    JSON has no tuples and arrays, and some wrappers ask for them, as a shape: a list becomes what an annotation names,
    and a tuple where a wrapper refuses lists.
    """
    given = {name: _as_asked(value, _kind_asked(wrapper, name)) for name, value in arguments.items()}
    try:
        return wrapper(env, **given)
    except Exception:
        if not any(isinstance(value, list) for value in given.values()):
            raise
        with contextlib.suppress(Exception):  # the first error says what is wrong
            return wrapper(env, **{name: _with_tuples(value) for name, value in given.items()})
        raise


def _with_tuples(value: object) -> object:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _as_asked(value: object, kind: str | None) -> object:
    if kind == "ndarray" and isinstance(value, list):
        return np.array(value)
    return _with_tuples(value) if kind == "tuple" else value


def _kind_asked(wrapper: Callable[..., object], name: str) -> str | None:
    """Return what an annotation of a parameter names first: a tuple, a list, a sequence, an array, or none of them."""
    try:
        parameter = inspect.signature(wrapper).parameters.get(name)
    except (TypeError, ValueError):  # it tells nothing of itself
        return None
    kind = None if parameter is None else re.search(r"tuple|list|sequence|ndarray", str(parameter.annotation).lower())
    return None if kind is None else kind[0]


def _wrappers_in(module: ModuleType) -> list[str]:
    return [name for name, one in vars(module).items() if isinstance(one, type) and issubclass(one, gym.Wrapper)]
