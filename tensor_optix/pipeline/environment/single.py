"""A single environment, from its making to its closing; after a failure it is made anew."""

import contextlib
from functools import partial
from typing import Any

import gymnasium as gym

from tensor_optix.errors import BadDataError, InvalidArgumentError
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.copies import copies_by, rebuild
from tensor_optix.pipeline.environment.environment import make_environment, maker_in
from tensor_optix.pipeline.environment.episodes import note_foreign_action
from tensor_optix.pipeline.environment.own_code import EnvLike
from tensor_optix.pipeline.environment.resets import EnvironmentReset
from tensor_optix.pipeline.environment.workers.isolated import IsolatedEnv


class SingleEnvironment:
    """Makes an environment, and makes it anew before the reset that follows a failure.

    One that came ready-made is not made anew: it goes on with its reset.

    Args:
        env: an environment, an id to make one from, or a class or function that makes one.
        isolate: run it in a process of its own.
        step_timeout: as in `IsolatedEnv`.
        max_worker_rss: as in `IsolatedEnv`.
        warns: say so where its episodes cannot be seeded.

    Raises:
        InvalidArgumentError: what is to be isolated came ready-made, or a bound is given for what cannot be ended.
        EnvironmentNotFoundError: an unknown id.
        ContractError: no environment, or one that cannot be reset as its wrappers do.
    """

    def __init__(
        self,
        env: EnvLike,
        isolate: bool = False,
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
        warns: bool = True,
    ) -> None:
        self._maker = None if isinstance(env, gym.Env) else maker_in(env)
        self._make = None if isinstance(env, gym.Env) else partial(make_environment, env)
        self._isolated = isolating(self._make, isolate, step_timeout, max_worker_rss)
        self.env = make_environment(env) if self._isolated is None else self._isolated()
        """The environment."""
        self._reset = EnvironmentReset(self.env, warns)
        self.has_failed = False
        """Whether it has raised, or its process has ended, since it was made."""

    def begin_step(self, action: object) -> None:
        """Let an environment in a process of its own take a step that `step` will ask for, beside others."""
        if isinstance(self.env, IsolatedEnv):
            self.env.begin_step(action)

    def step(self, action: object) -> Any:
        """Return what `env.step` returns; what it raises is noted."""
        try:
            return self.env.step(action)
        except Exception as error:
            if not isinstance(error, BadDataError):
                self.has_failed = True
                note_foreign_action(error, action, self.env.action_space)
            raise

    def reset(self, **arguments: object) -> Any:
        """Return what `env.reset` returns, of an environment that is made anew where it has failed."""
        if self.has_failed:
            self._renew()
        try:
            return self._reset(**arguments)
        except Exception as error:
            self.has_failed = not isinstance(error, BadDataError)  # those are no reason to make it anew
            raise

    def _renew(self) -> None:
        if self._make is not None and self._isolated is None:  # an isolated one begins anew by itself
            with contextlib.suppress(Exception):
                self.env.close()
            self.env = self._make()
            self._reset = EnvironmentReset(self.env, warns=False)
        self.has_failed = False

    def copies(self) -> list[EnvFn]:
        """Return functions that make the same environment.

        Raises:
            ValueError: there is no copy that is the same; the message says why.
        """
        if self._isolated is not None:
            return [self._isolated]
        return [rebuild(self.env) if self._maker is None else copies_by(self._maker, self.env)]


def isolating(
    make: EnvFn | None, isolate: bool, step_timeout: float | None = None, max_worker_rss: int | None = None
) -> EnvFn | None:
    """Return what makes an environment in a process of its own, None where it is to be in this one.

    Args:
        make: makes it; None where it came ready-made.
        isolate: whether it is to have a process of its own.
        step_timeout: as in `IsolatedEnv`.
        max_worker_rss: as in `IsolatedEnv`.

    Raises:
        InvalidArgumentError: it came ready-made, or a bound is given for what cannot be ended.
    """
    for name, value in (("step_timeout", step_timeout), ("max_worker_rss", max_worker_rss)):
        if value is not None and not isolate:
            raise InvalidArgumentError(
                f"{name}={value!r} needs isolate=True: only a process of its own can be ended and made anew."
            )
    if not isolate:
        return None
    if make is None:
        raise InvalidArgumentError(
            "isolate=True needs an id, or a class or function that makes the environment, as it is made in another "
            "process; but got a ready-made one."
        )
    return partial(IsolatedEnv, make, step_timeout=step_timeout, max_worker_rss=max_worker_rss)
