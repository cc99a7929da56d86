"""Making vector environments, and single ones of the same kind."""

from collections.abc import Sequence
from functools import partial

import gymnasium as gym
from gymnasium.vector import VectorEnv

from tensor_optix.errors import InvalidArgumentError, SpaceError
from tensor_optix.pipeline.environment.atari import AtariGames, has_games, is_atari
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.environment import check_size, make_environment, maker_in
from tensor_optix.pipeline.environment.in_process import InProcessVectorEnv
from tensor_optix.pipeline.environment.own_code import EnvKwargs
from tensor_optix.pipeline.environment.pool_tasks import is_env_pool
from tensor_optix.pipeline.environment.vector_state import seeded
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.support.tuples import tuples_from_json


def vector_of(
    env_fns: object, async_envs: bool, step_timeout: float | None = None, max_worker_rss: int | None = None
) -> tuple[VectorEnv, list[EnvFn] | None]:
    """Return the vector environment, and what makes each environment in it where they are made one by one here.

    Args:
        env_fns: what `VectorBatchPipeline` takes: functions, `(id, num_envs)`, or a vector.
        async_envs: run each environment in a process of its own.
        step_timeout: seconds that a step or a reset may take there; None = learned.
        max_worker_rss: bytes of memory from which such a process is replaced; None = no bound.

    Raises:
        InvalidArgumentError: none of these, or a bound where there is no such process.
        ContractError: what makes an environment cannot be sent to another process.
        EnvironmentNotFoundError: an unknown id, or what cannot be imported in another process.
        EnvironmentFailedError: an environment failed while it was made in another process.
        SpaceError: environments with different spaces.
    """
    for name, value in (("step_timeout", step_timeout), ("max_worker_rss", max_worker_rss)):
        if value is not None and (not async_envs or isinstance(env_fns, VectorEnv)):
            raise InvalidArgumentError(
                f"{name}={value!r} needs async_envs=True, and functions that make environments: only a process of its "
                f"own can be ended and made anew."
            )
    if isinstance(env_fns, VectorEnv):
        return env_fns, None
    makers = makers_of(env_fns)
    if isinstance(env_fns, tuple) and isinstance(env_fns[0], str) and not async_envs:
        env_id, num_envs = env_fns[0], len(makers)
        if is_atari(env_id) and has_games():
            return AtariGames(env_id, num_envs, makers), makers
        spec = gym.registry.get(env_id) if not is_atari(env_id) else None  # those are preprocessed
        if spec is not None and spec.vector_entry_point is not None:
            return gym.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point"), None
    pool = None if async_envs else _pool_in(makers)
    if pool is not None:
        env_id, arguments = pool
        return gym.make_vec(env_id, len(makers), vectorization_mode="vector_entry_point", **arguments), None
    if async_envs:
        return WorkerVectorEnv(makers, step_timeout=step_timeout, max_worker_rss=max_worker_rss), makers
    try:
        return InProcessVectorEnv(seeded(make, warns=i == 0) for i, make in enumerate(makers)), makers
    except (RuntimeError, AssertionError) as error:
        if "space" in str(error).lower():
            raise SpaceError(f"The environments of one vector must have the same spaces: {error}") from error
        raise


def makers_of(env_fns: object) -> list[EnvFn]:
    """Return a function for each environment of a vector that is made here, one by one.

    Args:
        env_fns: functions, or `(id, num_envs)`.

    Raises:
        InvalidArgumentError: neither of these.
        EnvironmentNotFoundError: an unknown id.
    """
    if isinstance(env_fns, tuple) and len(env_fns) == 2 and isinstance(env_fns[0], str):
        env_id, num_envs = env_fns
        maker_in(env_id)  # an unknown one is refused here
        check_size("num_envs of (id, num_envs)", num_envs)
        # By its name, which a process of its own can look up; a class of this one might not reach it.
        return [lambda: make_environment(env_id)] * int(num_envs)
    makers = list(env_fns) if isinstance(env_fns, Sequence) and not isinstance(env_fns, str) else []
    if not makers or not all(callable(make) for make in makers):
        raise InvalidArgumentError(
            f"env_fns must be functions that make environments (at least one), (id, num_envs), or a "
            f"gymnasium.vector.VectorEnv, but got {env_fns!r}."
        )
    return makers


def _pool_in(makers: Sequence[EnvFn]) -> tuple[str, EnvKwargs] | None:
    """Return the task of EnvPool, with its settings, of which `make_environment` makes all; None of anything else."""
    first = makers[0]
    if not isinstance(first, partial) or first.func is not make_environment or any(one is not first for one in makers):
        return None
    env, arguments, wrappers = (*first.args, None, ())[:3]
    if not isinstance(env, str) or not is_env_pool(env) or wrappers:
        return None
    maker_in(env)  # enters it in the registry
    return env, tuples_from_json(arguments or {})
