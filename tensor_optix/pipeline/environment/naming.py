"""The name of an environment by which another process can make it again."""

import importlib.util
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.own_code import EnvKwargs
from tensor_optix.support.tuples import tuples_as_json

Named = tuple[str | None, EnvKwargs]
"""A name, None where there is none, and the arguments that go with it."""
_OF_NO_COPY = ("render_mode",)


def name_of(env: object) -> Named:
    """Return the name of what a pipeline was given as its environment.

    Args:
        env: an environment, its id or place, or a class or function that makes one.
    """
    if isinstance(env, str):
        return env, {}
    if isinstance(env, gym.Env):
        return _of_spec(env)
    module, name = getattr(env, "__module__", "__main__"), getattr(env, "__qualname__", "<locals>")
    return (f"{module}:{name}", {}) if name.isidentifier() and _is_importable(module) else (None, {})


def name_of_each(env_fns: VectorEnv | tuple[str, int] | Sequence[EnvFn]) -> Named:
    """Return the name of each environment of a vector, as `VectorBatchPipeline` takes it; none where they differ."""
    if isinstance(env_fns, VectorEnv):
        return None, {}
    is_one = isinstance(env_fns[0], str) or len(set(env_fns)) == 1
    return name_of(env_fns[0]) if is_one else (None, {})


def _of_spec(env: gym.Env) -> Named:
    """Return the id that an environment was made by, with its arguments; none where it was wrapped since."""
    try:
        spec = env.spec
    except Exception:  # a wrapper that does not record its arguments
        spec = None
    registered = None if spec is None else gym.registry.get(spec.id)
    if spec is None or registered is None or spec.additional_wrappers or _is_changed(env, spec.max_episode_steps):
        return None, {}
    arguments = {name: value for name, value in spec.kwargs.items() if name not in _OF_NO_COPY}
    defaults = registered.kwargs
    arguments = {name: value for name, value in arguments.items() if not _is_equal(value, defaults.get(name, ...))}
    if spec.max_episode_steps != registered.max_episode_steps:
        if spec.max_episode_steps is None:  # the environment without its limit: no argument leaves that out
            return None, {}
        arguments["max_episode_steps"] = spec.max_episode_steps
    module = type(env.unwrapped).__module__
    is_ours = module.partition(".")[0] == "gymnasium"
    try:
        arguments = {name: tuples_as_json(value) for name, value in arguments.items()}
    except (BadDataError, RecursionError):  # `run.json` would make something else of it
        return None, {}
    if is_ours:
        return spec.id, arguments
    return (f"{module}:{spec.id}", arguments) if _is_importable(module) else (None, {})


def _is_equal(value: object, default: object) -> bool:
    """Return whether an argument is its default; of arrays and data frames, all members are."""
    if getattr(value, "shape", None) != getattr(default, "shape", None):  # a row does not stand for a table
        return False
    try:
        return bool(np.all(value == default))
    except Exception:  # what cannot be compared is not the default
        return False


def _is_changed(env: gym.Env, limit: int | None) -> bool:
    """Return whether there is another wrapper than those of `gymnasium.make`, or its time limit is gone."""
    names: list[str] = []
    while isinstance(env, gym.Wrapper):
        names.append(type(env).__name__)
        env = env.env
    is_limited = "TimeLimit" in names
    return is_limited is (limit is None) or not {*names} <= {"TimeLimit", "OrderEnforcing", "PassiveEnvChecker"}


def _is_importable(module: str) -> bool:
    """Return whether another process can import a module by its name; the script that runs is none."""
    try:
        return module != "__main__" and importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
