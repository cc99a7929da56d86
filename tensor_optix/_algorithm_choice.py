"""Which algorithm trains an environment where nobody has chosen one."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.algorithms._description import ALGORITHMS
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline.environment.changes import time_limit_of
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.support.bounds import are_wide, has_bounds


def resolve_algorithm(algorithm: str, env: gym.Env) -> str:
    """Return the given algorithm, or the one that `"auto"` stands for.

    SAC for Box actions whose bounds tell a scale, on vectors, which it joins; DQN for a registered environment of
    numbered observations and actions without a time limit; PPO for all others. Without a limit a policy that walks
    about for ever sees nothing else, and PPO, which learns from its own steps alone, stays there: in 580,000 steps on
    CliffWalking it ended no episode. To DQN what it has not tried looks better than what costs a step, and it was done
    in 15,000.

    Args:
        algorithm: `"auto"`, or a name.
        env: what is to be learned.

    Raises:
        InvalidArgumentError: there is no such algorithm.
    """
    if algorithm != "auto" and algorithm not in ALGORITHMS:
        raise InvalidArgumentError(f"algorithm must be 'auto' or one of {ALGORITHMS}, but got {algorithm!r}.")
    if algorithm != "auto":
        return algorithm
    if _suits_sac(env):
        return "sac"
    is_table = isinstance(env.observation_space, spaces.Discrete) and isinstance(env.action_space, spaces.Discrete)
    return "dqn" if is_table and env.spec is not None and time_limit_of(env) is None else "ppo"


def other_algorithm(algorithm: str, env: gym.Env) -> str | None:
    """Return the algorithm that learns the same in another way; None where no other one fits.

    PPO for DQN and SAC; for PPO, DQN on Discrete actions and SAC on bounded Box actions of floats, on vectors. An agent
    with a memory has none that fits.

    Args:
        algorithm: the one that has been tried.
        env: what is to be learned.
    """
    actions = env.action_space
    if algorithm in ("dqn", "sac"):
        return "ppo"
    if algorithm != "ppo":
        return None
    if isinstance(actions, spaces.Discrete):
        return "dqn"
    is_of_floats = isinstance(actions, spaces.Box) and np.issubdtype(actions.dtype, np.floating)
    return "sac" if is_of_floats and _suits_sac(env) else None


def _suits_sac(env: gym.Env) -> bool:
    """Return whether the actions are a Box whose bounds tell a scale, and the observations a vector."""
    actions = env.action_space
    has_scale = isinstance(actions, spaces.Box) and has_bounds(actions) and not are_wide(actions)
    return has_scale and len(flat_observation_space(env.observation_space).shape) == 1
