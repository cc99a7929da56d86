"""Making vector environments, and single ones of the same kind."""

from collections.abc import Sequence

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from tensor_optix.errors import EnvironmentFailedError, InvalidArgumentError, SpaceError
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.environment import (
    check_size,
    is_atari,
    make_environment,
    maker_in,
)
from tensor_optix.pipeline.environment.vector_state import seeded


def vector_of(env_fns: object, async_envs: bool) -> tuple[VectorEnv, list[EnvFn] | None]:
    """Return the vector environment, and what makes each environment in it where they are made one by one here.

    Args:
        env_fns: what `VectorBatchPipeline` takes: functions, `(id, num_envs)`, or a vector.
        async_envs: run each environment in a process of its own.

    Raises:
        InvalidArgumentError: none of these.
        EnvironmentNotFoundError: an unknown id.
        EnvironmentFailedError: an environment's process ended while it was made.
        SpaceError: environments with different spaces.
    """
    if isinstance(env_fns, VectorEnv):
        return env_fns, None
    if isinstance(env_fns, tuple) and len(env_fns) == 2 and isinstance(env_fns[0], str):
        env_id, num_envs = env_fns
        maker_in(env_id)  # an unknown one is refused here
        check_size("num_envs of (id, num_envs)", num_envs)
        num_envs = int(num_envs)
        spec = gym.registry.get(env_id) if not is_atari(env_id) else None  # those are preprocessed
        if spec is not None and spec.vector_entry_point is not None and not async_envs:
            return gym.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point"), None
        # By its name, which a process of its own can look up; a class of this one might not reach it.
        env_fns = [lambda: make_environment(env_id)] * num_envs
    makers = list(env_fns) if isinstance(env_fns, Sequence) and not isinstance(env_fns, str) else []
    if not makers or not all(callable(make) for make in makers):
        raise InvalidArgumentError(
            f"env_fns must be functions that make environments (at least one), (id, num_envs), or a "
            f"gymnasium.vector.VectorEnv, but got {env_fns!r}."
        )
    vectorised = AsyncVectorEnv if async_envs else SyncVectorEnv
    try:
        env_fns = [seeded(make, warns=i == 0) for i, make in enumerate(makers)]
        return vectorised(env_fns, autoreset_mode=AutoresetMode.SAME_STEP), makers
    except (RuntimeError, AssertionError) as error:
        if "space" in str(error).lower():
            raise SpaceError(f"The environments of one vector must have the same spaces: {error}") from error
        raise
    except (EOFError, ConnectionError) as error:
        raise EnvironmentFailedError(
            "The process of an environment ended while it was made. Its own error was printed; call each of env_fns "
            "in this process to see it raise."
        ) from error
