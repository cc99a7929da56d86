"""PPO agents on small pictures: of one trunk as the factory builds them, and of two networks of the same layers."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix import EpisodeData, make_agent
from tensor_optix.adapters._architecture import Architecture
from tensor_optix.algorithms._builders import builder_for
from tensor_optix.algorithms._distributions import distribution_named
from tensor_optix.core.types import HyperparamSet

SHAPE = (36, 36, 1)
PARAMS = {"n_epochs": 2, "minibatch_size": 16, "learning_rate": 1e-3}
CHOICE, NUMBERS = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,), np.float32)


class Pictures(gym.Env):
    """Spaces only."""

    observation_space = spaces.Box(0, 255, SHAPE, np.uint8)

    def __init__(self, action_space: spaces.Space = CHOICE) -> None:
        self.action_space = action_space


def agent_of_pictures(framework: str, action_space: spaces.Space = CHOICE, seed: int = 0) -> Any:
    return make_agent(Pictures(action_space), "ppo", framework, PARAMS, seed=seed)


def agent_of_two_networks(framework: str, seed: int = 0) -> Any:
    builder = builder_for(framework, seed)
    actor, critic = (
        builder.network(
            Architecture(
                input_shape=SHAPE, hidden=(), outputs=n, activation="tanh", initial="orthogonal", is_image=True
            )
        )
        for n in (3, 1)
    )
    return builder.ppo(actor, critic, HyperparamSet(PARAMS), distribution_named("categorical"))


def window_of_pictures(agent: Any, length: int = 64, seed: int = 0) -> EpisodeData:
    """Two episodes, the second of which is cut."""
    rng = np.random.default_rng(seed)
    observations = rng.integers(0, 256, (length, *SHAPE), np.uint8)
    ends = np.zeros((2, length), bool)
    ends[0, length // 2] = ends[1, -1] = True
    return EpisodeData(
        observations=observations,
        actions=agent.act_batch(observations),
        rewards=rng.normal(size=length).astype(np.float32),
        terminated=ends[0],
        truncated=ends[1],
        next_observations=rng.integers(0, 256, (length, *SHAPE), np.uint8),
    )
