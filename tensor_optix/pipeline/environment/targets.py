"""What an environment says of the score from which it counts as solved: `env.spec.reward_threshold`."""

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.wrappers import NormalizeReward

from tensor_optix.support.arguments import is_real


def reward_threshold_of(env: gym.Env) -> float | None:
    """Return the return from which `env` counts as solved; None where it is unknown, or a wrapper rescales rewards."""
    spec, wrapped = env.spec, env
    while isinstance(wrapped, gym.Wrapper):
        if isinstance(wrapped, gym.RewardWrapper | NormalizeReward):
            return None
        wrapped = wrapped.env
    return _threshold(spec)


def vector_reward_threshold_of(env: VectorEnv, env_fns: object) -> float | None:
    """Return the same of each environment of a vector; None where they live in processes of unknown environments.

    Args:
        env: the vector.
        env_fns: what it was made of, as `VectorBatchPipeline` takes it.
    """
    if isinstance(env, SyncVectorEnv):
        return reward_threshold_of(env.envs[0])
    if env.spec is None and isinstance(env_fns, tuple) and isinstance(env_fns[0], str):
        return _threshold(gym.registry.get(env_fns[0]))
    return _threshold(env.spec)


def _threshold(spec: object) -> float | None:
    value = getattr(spec, "reward_threshold", None)
    return float(value) if is_real(value) else None
