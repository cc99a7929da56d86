"""Tasks of EnvPool: their names in Gymnasium's registry, and single environments of them.

A task has a namespace of its own there: `EnvPool/HalfCheetah-v5`. What plays one environment alone, validation above
all, plays Gymnasium's own where it has the same task: EnvPool hands each step to a thread and back, which for a single
environment costs more than the step.
"""

import importlib.util
import logging
import warnings
from functools import cache
from types import ModuleType
from typing import Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Action, Observation
from tensor_optix.errors import EnvironmentNotFoundError, InvalidArgumentError, did_you_mean
from tensor_optix.pipeline.environment.atari import is_atari, made_atari
from tensor_optix.pipeline.environment.own_code import EnvKwargs
from tensor_optix.support.optional import require

logger = logging.getLogger(__name__)

Spaces = tuple[spaces.Space[object], spaces.Space[object]]
"""Of one observation and of one action."""


class Pool(Protocol):
    """What `envpool.make_gymnasium` returns; with a row for each environment, or for each that was reset."""

    observation_space: spaces.Space[object]
    """Of one environment."""
    action_space: spaces.Space[object]

    def reset(self, env_id: np.ndarray | None = None) -> tuple[Observation, dict[str, np.ndarray]]:
        """Begin new episodes in all environments, or in some by their numbers."""
        ...

    def step(self, action: Action) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Step all environments."""
        ...


class _TaskSpec(Protocol):
    """What `envpool.make_spec` returns."""

    observation_space: spaces.Space[object]
    action_space: spaces.Space[object]


NAMESPACE = "EnvPool/"
NO_LIMIT = 2**31 - 2
"""EnvPool counts in 32 bits, and adds one."""
_ENTRY = "tensor_optix.pipeline.environment.env_pool"
_CHANCE = "repeat_action_probability"
"""The setting by which an Atari game is told from other tasks,"""
_AS_OF_ALE = {_CHANCE: 0.25, "use_fire_reset": False}
"""and what makes it the game that `ALE/` names; the other settings agree by default."""
_SAME = ("atari", "box2d", "classic_control", "mujoco.gym", "toy_text")
"""Modules of tasks that are Gymnasium's, step by step."""
_PLAIN_LIMIT = (*_SAME, "mujoco.dmc")
"""Those whose limit of steps does nothing but cut; other tasks make rewards or observations of it."""
_OURS = ("num_envs", "batch_size", "max_num_players", "seed", "env_seed")
_OF_THREADS = ("num_threads", "thread_affinity_offset")


def is_env_pool(env: str) -> bool:
    """Return True for the id of a task of EnvPool."""
    return env.startswith(NAMESPACE) and ":" not in env


def known_as(env: str) -> str:
    """Return the id by which Gymnasium knows a registered task of EnvPool; any other id as it is."""
    spec = gym.registry.get(env)
    if spec is None or not is_env_pool(env):
        return env
    task = env.removeprefix(NAMESPACE)
    return f"ALE/{task}" if _CHANCE in spec.kwargs else task


def register_env_pool(env: str) -> None:
    """Enter a task of EnvPool in Gymnasium's registry; a slash in its own name is written as a hyphen.

    Raises:
        MissingDependencyError: EnvPool is not installed.
        EnvironmentNotFoundError: it has no such task for one player, or a library of the system is missing.
    """
    if env in gym.registry:
        return
    pool, name = env_pool(env), env.removeprefix(NAMESPACE)
    tasks = {task.replace("/", "-"): task for task in pool.list_all_envs()}
    if name not in tasks:
        raise EnvironmentNotFoundError(
            f"EnvPool has no task {name!r}.{did_you_mean(name, tasks)} envpool.list_all_envs() names them all; a slash "
            f"in a name is written as a hyphen here."
        )
    try:
        defaults = pool.make_spec(tasks[name]).config._asdict()
    except ImportError as error:
        raise EnvironmentNotFoundError(f"Environment {env!r} cannot be made: {error}") from error
    if defaults["max_num_players"] != 1:
        raise EnvironmentNotFoundError(
            f"Environment {env!r} has {defaults['max_num_players']} players. Take a task of EnvPool with one."
        )
    limit = defaults["max_episode_steps"]
    gym.register(
        env,
        entry_point=f"{_ENTRY}:EnvPoolEnv",
        vector_entry_point=f"{_ENTRY}:EnvPoolVectorEnv",
        reward_threshold=defaults.get("reward_threshold"),
        max_episode_steps=limit if limit < NO_LIMIT else None,
        disable_env_checker=True,  # it warns in each step of what EnvPool says of its spaces
        kwargs={"task": tasks[name], **(_AS_OF_ALE if _CHANCE in defaults else {})},
    )


def made_single(env: str, settings: EnvKwargs) -> gym.Env:
    """Return a single environment of a registered task: Gymnasium's where it has the same one, else EnvPool's.

    Args:
        env: its id.
        settings: of `gymnasium.make`; with one of EnvPool's own it is EnvPool's.
    """
    twin, changed = twin_of(env), _changed(env, settings)
    if twin is not None and is_atari(twin) and changed.keys() <= {"render_mode"}:
        return made_atari(twin, changed)
    if twin is not None and not is_atari(twin) and changed.keys() <= {"render_mode", "max_episode_steps"}:
        return gym.make(twin, **changed)
    return gym.make(env, **settings)


def _changed(env: str, settings: EnvKwargs) -> EnvKwargs:
    """Return the settings of a registered task that are others than its own, and not about threads."""
    spec = gym.spec(env)
    own = {**spec.kwargs, "max_episode_steps": spec.max_episode_steps}
    return {name: value for name, value in settings.items() if name not in _OF_THREADS and own.get(name, ...) != value}


@cache
def twin_of(env: str) -> str | None:
    """Return Gymnasium's id of the same task as a registered one of EnvPool; None where it has none, or not here."""
    task, twin = gym.spec(env).kwargs["task"], known_as(env)
    if _module_of(task) not in _SAME:
        return None
    if is_atari(twin) and importlib.util.find_spec("ale_py") is not None:
        gym.register_envs(importlib.import_module("ale_py"))
    if twin not in gym.registry:
        return None
    try:
        single = made_atari(twin, {}) if is_atari(twin) else gym.make(twin)
    except (gym.error.Error, ImportError) as error:
        logger.warning("Single environments of %s are EnvPool's, as Gymnasium's cannot be made: %s", env, error)
        return None
    theirs = (single.observation_space, single.action_space)
    single.close()
    is_drawn = len(theirs[0].shape or ()) > 1 and not is_atari(twin)  # each has a library of its own for that
    ours = _spaces_of(env_pool(env).make_spec(task))
    return twin if not is_drawn and all(map(_is_alike, ours, theirs)) else None


def spaces_of(task: str, settings: EnvKwargs) -> Spaces:
    """Return the spaces of one environment of a task, those of its single environments; no thread is started.

    Args:
        task: its name in EnvPool.
        settings: of `envpool.make`.

    Raises:
        InvalidArgumentError: settings that are none of the task, or that are not the user's to choose.
    """
    for name in _OURS:
        if name in settings:
            raise InvalidArgumentError(
                f"{name}={settings[name]!r} cannot be set: environments of EnvPool are stepped all together, with one "
                f"player each, and their number and seeds are the pipeline's."
            )
    pool, env = env_pool(task), NAMESPACE + task.replace("/", "-")
    try:
        spec = pool.make_spec(task, **settings)
    except TypeError as error:
        known = {*pool.make_spec(task).config._asdict()} - {*_OURS, "base_path", "gym_reset_return_info"}
        raise InvalidArgumentError(
            f"EnvPool's {task} does not take these settings: {error}. It knows {', '.join(sorted(known))}."
        ) from None
    if _changed(env, settings) or twin_of(env) is None:
        return _spaces_of(spec)
    single = made_single(env, {})
    single.close()
    return single.observation_space, single.action_space


def has_plain_limit(task: str) -> bool:
    """Return whether a task's limit of steps does nothing but cut episodes."""
    return _module_of(task) in _PLAIN_LIMIT


def env_pool(needed_by: str) -> ModuleType:
    """Return the package; raises `MissingDependencyError` where it is not installed."""
    return require("envpool", needed_by, "envpool")


def make_pool(task: str, num_envs: int, seeds: list[int], settings: EnvKwargs) -> Pool:
    """Make environments of a task, and start the threads that step them."""
    pool = env_pool(task).make_gymnasium(task, num_envs=num_envs, seed=seeds, **settings)
    _spaces_of(pool)  # which it keeps; Gymnasium would warn in the first step of their rounded bounds
    return pool


def _module_of(task: str) -> str:
    module, *_ = env_pool(task).registration.registry.specs[task]
    return module.removeprefix("envpool.")


def _is_alike(ours: object, theirs: object) -> bool:
    """Return whether values of one space are values of the other, whatever the bounds and the precision of floats."""
    if isinstance(ours, spaces.Box) and isinstance(theirs, spaces.Box):
        return ours.shape == theirs.shape and ours.dtype.kind == theirs.dtype.kind
    return ours == theirs


def _spaces_of(made: Pool | _TaskSpec) -> Spaces:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # bounds are rounded to the type of the numbers
        return _unbounded(made.observation_space), _unbounded(made.action_space)


def _unbounded(space: spaces.Space[object]) -> spaces.Space[object]:
    """Return a space whose parts without a bound say so: EnvPool writes the extreme numbers of their type."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({name: _unbounded(member) for name, member in space.spaces.items()})
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        return space
    numbers = np.finfo(space.dtype)
    low = np.where((space.low == numbers.min) | (space.low == numbers.tiny), -np.inf, space.low)  # tiny: C++'s "min"
    high = np.where(space.high == numbers.max, np.inf, space.high)
    return spaces.Box(low.astype(space.dtype), high.astype(space.dtype), space.shape, space.dtype.type)
