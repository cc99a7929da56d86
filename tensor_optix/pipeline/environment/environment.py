"""What pipelines ask of a Gymnasium environment before and while they step it."""

import importlib
import importlib.util
import math
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from tensor_optix.core.base_agent import BaseAgent, ChecksSpaces
from tensor_optix.core.types import Action
from tensor_optix.errors import (
    BadDataError,
    ContractError,
    EnvironmentFailedError,
    EnvironmentNotFoundError,
    InvalidArgumentError,
    TensorOptixError,
    did_you_mean,
)
from tensor_optix.pipeline.environment.atari import is_atari, made_atari
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.flat_actions import FlatActions, has_flat_form
from tensor_optix.pipeline.environment.own_code import EnvKwargs, EnvLike, code_of, imported, made_by, maker_of
from tensor_optix.pipeline.environment.pool_tasks import is_env_pool, made_single, register_env_pool
from tensor_optix.pipeline.environment.wrapping import WrapperPlace, wrapped
from tensor_optix.support.arguments import is_whole
from tensor_optix.support.bounds import has_bounds
from tensor_optix.support.trees import leaves
from tensor_optix.support.tuples import tuples_from_json

_OF_TUPLES = " A tuple is written (64, 48), a list [64, 48]."
_Bound = TypeVar("_Bound", float, np.ndarray)


def make_environment(env: EnvLike, env_kwargs: EnvKwargs | None = None, wrappers: Sequence[str] = ()) -> gym.Env:
    """Return `env`, made where it is an id, a place (`own_code`), or a class or function that makes one.

    Args:
        env: an environment, its id or place, or what makes one.
        env_kwargs: arguments of what makes it; tuples may be as `support.tuples` writes them.
        wrappers: places of wrappers to put around it, see `wrapping`.

    Raises:
        EnvironmentNotFoundError: an id that is not registered, whose package is missing, or whose code has none.
        InvalidArgumentError: the environment needs arguments, or has others.
        EnvironmentFailedError: it raised while it was made.
        ContractError: something else.
    """
    for text in wrappers if isinstance(env, str) and env not in gym.registry else ():
        imported(WrapperPlace.of(text).code)  # the package of a wrapper often registers the environments that it is for
    made = _made(env, None if env_kwargs is None else tuples_from_json(env_kwargs))
    return wrapped(made, wrappers) if wrappers else made


def _made(env: EnvLike, env_kwargs: EnvKwargs | None) -> gym.Env:
    if isinstance(env, gym.Env):
        return env
    make, arguments = maker_in(env, env_kwargs), env_kwargs or {}
    if not isinstance(env, str):
        assert make is not None  # noqa: S101 - only an id is left to the registry
        return make()
    try:
        if make is not None:
            return make()
        if is_env_pool(env):
            return made_single(env, arguments)
        return made_atari(env, arguments) if is_atari(env) else gym.make(env, **arguments)
    except TensorOptixError:
        raise
    except (gym.error.Error, ImportError) as error:
        raise EnvironmentNotFoundError(f"Environment {env!r} cannot be made: {error}") from error
    except Exception as error:
        raise _not_made(env, error, arguments) from error


def _not_made(env: str, error: Exception, arguments: EnvKwargs) -> TensorOptixError:
    said, *_ = str(error).partition(" was raised from the environment creator")
    said = said if str(error) else _raised_at(error)
    reason = f"Environment {env!r} cannot be made: {said}"
    if not isinstance(error, TypeError):
        return EnvironmentFailedError(f"{reason} ({type(error).__name__}).")
    return InvalidArgumentError(
        f"{reason}. Give its arguments: --env-kwargs NAME=VALUE on the command line, or in Python the environment "
        f"itself, gymnasium.make({env!r}, NAME=VALUE), where a value is no number or text."
        f"{_OF_TUPLES if any(isinstance(leaf, list) for leaf in leaves(arguments)) else ''}"
    )


def _raised_at(error: Exception) -> str:
    """Return where an error without a text was raised, with the line of code."""
    (*_, place) = traceback.extract_tb(error.__traceback__)
    return f"{place.line!r} in line {place.lineno} of {place.filename}"


def maker_in(env: object, env_kwargs: EnvKwargs | None = None) -> EnvFn | None:
    """Return the function by which `env` is made anew, None where the registry makes it from its id.

    Raises:
        EnvironmentNotFoundError: an id that is not registered, or code without such an environment.
        ContractError: neither an id nor something that can be called.
    """
    if isinstance(env, str):
        check_registered(env)
        return maker_of(env, env_kwargs)
    if not callable(env):
        raise ContractError(
            f"env must be a Gymnasium environment, an id, or a class or function that makes one, but got "
            f"{type(env).__name__}.{' Hand it to VectorBatchPipeline.' if isinstance(env, VectorEnv) else ''}"
        )
    return partial(made_by, env, env_kwargs)


def check_registered(env: str) -> None:
    """Raise `EnvironmentNotFoundError`, with the nearest name, unless an id is registered or names its module."""
    if is_atari(env) and env not in gym.registry and importlib.util.find_spec("ale_py") is not None:
        gym.register_envs(importlib.import_module("ale_py"))  # importing it registers the games
    if is_env_pool(env):
        register_env_pool(env)
    code = code_of(env)
    if code is not None and ":" in code and not code.endswith(".py"):  # Gymnasium expects two parts
        raise EnvironmentNotFoundError(
            f"{env!r} is no environment id; one has the form 'Name-v0', 'module:Name-v0' or 'file.py:Name'."
        )
    if code is None and env.endswith(".py"):
        raise EnvironmentNotFoundError(f"{env!r} is a file. Name the environment in it, too: '{env}:MyEnv'.")
    if code is None and env not in gym.registry:
        raise EnvironmentNotFoundError(
            f"Environment {env!r} is not registered.{did_you_mean(env, gym.registry)} Check the spelling and the "
            f"version, install the package that brings it (pip install 'gymnasium[...]'), or name the module that "
            f"registers it: 'module:{env}'."
        )


def check_agent_fits(
    agent: BaseAgent | None, observation_space: object = None, action_space: spaces.Space[object] | None = None
) -> BaseAgent:
    """Return the agent if there is one and, where spaces are given, it can tell that it fits them."""
    if agent is None:
        raise ContractError("The pipeline has no agent. Pass agent= to it, or hand it to RLOptimizer with one.")
    if action_space is not None and isinstance(agent, ChecksSpaces):
        agent.check_spaces(observation_space, action_space)
    return agent


def check_size(name: str, value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is a whole number of at least 1."""
    if not (is_whole(value) and value >= 1):
        raise InvalidArgumentError(f"{name} must be an integer of at least 1, but got {value!r}.")


class ActionScaler:
    """Hands actions to an environment: as they are, or mapped from the range of an agent that declares one.

    `low + (clip(a) − a_low)/(a_high − a_low) · (high − low)` onto a `Box` with finite bounds, none beyond 1e30. Onto
    any other `Box` they are clipped, and on other spaces they pass as they are, but for numpy's truths, which become
    the choices 0 and 1. Before, flat actions get the form of their space.

    Args:
        action_space: of the environment; None where it is not known.
        action_range: (a_low, a_high) in which the agent acts; None = in the environment's units.
        is_flat: the agent's choices are counted from 0, and its numbers are one vector.
    """

    def __init__(
        self,
        action_space: spaces.Space[object] | None,
        action_range: tuple[float, float] | None = None,
        *,
        is_flat: bool = False,
    ) -> None:
        self._flat = FlatActions(action_space) if is_flat and has_flat_form(action_space) else None
        self._range, self._is_box, self._is_mapped = action_range, False, False
        self._is_choice = isinstance(action_space, spaces.Discrete)
        if isinstance(action_space, spaces.Box) and np.issubdtype(action_space.dtype, np.floating):
            self._is_box = True
            self._low, self._high, self._dtype = action_space.low, action_space.high, action_space.dtype
            if action_range is not None and has_bounds(action_space) and not self._spans(action_range):
                self._is_mapped = True
                self._centre, self._half = _centre_and_half(self._low, self._high)
                self._agents_centre, self._agents_half = _centre_and_half(*action_range)

    def __call__(self, action: Action) -> Action:
        """Return the action as the environment takes it.

        Raises:
            BadDataError: it is not finite.
        """
        if self._flat is not None:
            action = self._flat.formed(action)
        if self._is_choice and isinstance(action, np.ndarray | np.bool_) and action.dtype == bool:
            return action.astype(np.int64)  # `observation[2] > 0` is no choice to Gymnasium, though True is
        if not self._is_box:
            return action
        if not _is_finite(action):
            raise BadDataError(
                f"The agent's action {action!r} is not finite, and does not reach the environment. Look for weights or "
                f"observations that are not."
            )
        if self._range is None:
            return action
        if self._is_mapped:
            # Rounding may leave the box slightly, hence the clip below.
            clipped = _clipped(action, *self._range)
            action = self._centre + (clipped - self._agents_centre) / self._agents_half * self._half
        return np.asarray(_clipped(action, self._low, self._high), self._dtype)

    def _spans(self, action_range: tuple[float, float]) -> bool:
        low, high = action_range
        return bool((self._low == low).all() and (self._high == high).all())

    def inverse(self, action: Action) -> Action:
        """Return what the agent would have to answer so that `action` reaches the environment."""
        if self._is_mapped:
            half = np.where(self._half > 0, self._half, 1.0)
            unit = np.where(self._half > 0, (action - self._centre) / half, 0.0)
            action = self._agents_centre + unit * self._agents_half
        return action if self._flat is None else self._flat.flat(action)


def _is_finite(action: Action) -> bool:
    """Return whether all numbers are; the sum of their squares tells it of nearly all in half the time."""
    if type(action) is np.ndarray and action.dtype.kind == "f" and math.isfinite(np.vdot(action, action)):
        return True
    return bool(np.isfinite(action).all())


def _clipped(action: Action, low: _Bound, high: _Bound) -> np.ndarray:
    return np.minimum(np.maximum(action, low), high)  # as np.clip, in a third of its time


def _centre_and_half(low: _Bound, high: _Bound) -> tuple[_Bound, _Bound]:
    return high / 2 + low / 2, high / 2 - low / 2


def checked_reward(reward: Any, env: gym.Env) -> float:
    """Return a step's reward as a float, or raise `BadDataError` if it is no number."""
    try:
        return float(reward)
    except (TypeError, ValueError):
        raise BadDataError(f"{env} returned the reward {reward!r}; a reward must be one number.") from None
