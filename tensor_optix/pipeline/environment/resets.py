"""Resetting environments whose `reset` takes less than Gymnasium's."""

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

from tensor_optix.errors import ContractError

logger = logging.getLogger(__name__)

_ARGUMENTS = ("seed", "options")


class EnvironmentReset:
    """Resets an environment with those of `seed` and `options` that its `reset` takes.

    Args:
        env: the environment.
        warns: say so where its episodes cannot be seeded.

    Raises:
        ContractError: it takes less than the wrappers around it pass on, so that it cannot be reset at all.
    """

    def __init__(self, env: gym.Env, warns: bool = True) -> None:
        self._env, self._warns = env, warns
        self._reset: Callable[..., object] = env.reset
        self._taken = tuple(name for name in _ARGUMENTS if _takes(env, name))
        self._is_doubtful = not all(_names(env, name) for name in self._taken)
        """Whether it takes whatever it is called with, and has not shown yet what it makes of that."""
        base = env.unwrapped
        missing = [name for name in _ARGUMENTS if not _takes(base, name)]
        if env is not base and missing and len(self._taken) == len(_ARGUMENTS):
            raise ContractError(
                f"{type(base).__name__}.reset must take {' and '.join(missing)}, which the wrappers around it pass on. "
                f"Write def reset(self, *, seed=None, options=None), and call super().reset(seed=seed) in it."
            )
        self._warn_of_no_seed()

    def __call__(self, **arguments: Any) -> Any:
        """Return what `env.reset` returns."""
        if self._is_doubtful:
            return self._first(arguments)
        return self._reset(**self._kept(arguments))

    def _kept(self, arguments: dict[str, object]) -> dict[str, object]:
        if len(self._taken) == len(_ARGUMENTS):
            return arguments
        return {name: arguments[name] for name in self._taken if name in arguments}

    def _first(self, arguments: dict[str, object]) -> object:
        """Reset it for the first time; one that refuses what it seems to take gets nothing more of it."""
        kept = self._kept(arguments)
        try:
            begun = self._reset(**kept)
        except TypeError:
            named = tuple(name for name in self._taken if _names(self._env, name))
            fewer = {name: kept[name] for name in named if name in kept}
            if fewer == kept:
                raise
            begun = self._reset(**fewer)
            self._taken = named
            self._warn_of_no_seed()
        self._is_doubtful = False
        return begun

    def _warn_of_no_seed(self) -> None:
        if self._warns and "seed" not in self._taken:
            logger.warning(
                "%s.reset takes no seed: its episodes cannot be seeded, so neither a run nor a validation episode "
                "repeats exactly. Write def reset(self, *, seed=None, options=None), and call super().reset(seed=seed) "
                "in it.",
                type(self._env.unwrapped).__name__,
            )


def _takes(env: gym.Env, name: str) -> bool:
    parameters = _parameters(env)
    return parameters is None or name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _names(env: gym.Env, name: str) -> bool:
    """Return whether a `reset` takes an argument by its name; if not, it takes any, or tells nothing of itself."""
    parameters = _parameters(env)
    return parameters is not None and name in parameters


def _parameters(env: gym.Env) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(env.reset).parameters
    except (TypeError, ValueError):
        return None
