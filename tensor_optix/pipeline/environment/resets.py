"""Resetting environments whose `reset` takes less than Gymnasium's."""

import inspect
import logging
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
        self._env = env
        self._taken = tuple(name for name in _ARGUMENTS if _takes(env, name))
        base = env.unwrapped
        missing = [name for name in _ARGUMENTS if not _takes(base, name)]
        if env is not base and missing and len(self._taken) == len(_ARGUMENTS):
            raise ContractError(
                f"{type(base).__name__}.reset must take {' and '.join(missing)}, which the wrappers around it pass on. "
                f"Write def reset(self, *, seed=None, options=None), and call super().reset(seed=seed) in it."
            )
        if warns and "seed" not in self._taken:
            logger.warning(
                "%s.reset takes no seed: its episodes cannot be seeded, so neither a run nor a validation episode "
                "repeats exactly. Write def reset(self, *, seed=None, options=None), and call super().reset(seed=seed) "
                "in it.",
                type(base).__name__,
            )

    def __call__(self, **arguments: Any) -> Any:
        """Return what `env.reset` returns."""
        if len(self._taken) < len(_ARGUMENTS):
            arguments = {name: arguments[name] for name in self._taken if name in arguments}
        return self._env.reset(**arguments)


def _takes(env: gym.Env, name: str) -> bool:
    try:
        parameters = inspect.signature(env.reset).parameters
    except (TypeError, ValueError):  # it tells nothing of itself
        return True
    return name in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())
