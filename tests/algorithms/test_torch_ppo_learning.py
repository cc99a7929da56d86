"""PPO on PyTorch learns: closed forms, and small environments in seconds."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import HyperparamSet
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tests.fakes.environments import Identity
from tests.fakes.ppo import Parts

torch.set_num_threads(1)


# --- closed forms and learning ---


class Tiny(gym.Env):
    """One-hot of the step number as observation; episodes of a given length that end or are cut."""

    def __init__(self, length: int, ends: str, reward: Callable[[Any], float], action_space: spaces.Space) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)
        self.action_space = action_space
        self.length, self.ends, self.reward = length, ends, reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.now = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now += 1
        over = self.now == self.length
        return (
            self._observe(),
            self.reward(action),
            over and self.ends == "terminated",
            over and self.ends != "terminated",
            {},
        )

    def _observe(self) -> np.ndarray:
        return np.eye(self.length, dtype=np.float32)[self.now % self.length]


def values_learned(ends: str) -> np.ndarray:
    env = Tiny(4, ends, lambda _: 2.0, spaces.Discrete(2))
    torch.manual_seed(0)
    actor, critic = nn.Linear(4, 2), nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    params = {"learning_rate": 0.05, "gamma": 0.8, "n_epochs": 4, "minibatch_size": 20, "max_grad_norm": 100.0}
    agent = TorchPPOAgent(actor, critic, optimizer, HyperparamSet(params), seed=0)
    stream = BatchPipeline(env, agent, window_size=38, seed=0).episodes()
    for _ in range(80):
        agent.learn(next(stream))
    with torch.no_grad():
        return critic(torch.eye(4))[:, 0].numpy()


def test_the_value_of_a_reward_that_is_only_ever_cut_by_time_limits_is_that_of_an_endless_stream() -> None:
    # r/(1 − γ) = 2/0.2; the observation after a cut is that of the first step again.
    np.testing.assert_allclose(values_learned("truncated"), np.full(4, 10.0), rtol=0.05)


def test_the_value_of_a_reward_that_ends_is_its_discounted_sum() -> None:
    expected = [2 * sum(0.8**k for k in range(4 - now)) for now in range(4)]
    np.testing.assert_allclose(values_learned("terminated"), expected, rtol=0.05)


def test_it_learns_to_name_what_it_sees() -> None:
    parts = Parts(4, 4, learning_rate=0.01, minibatch_size=32)
    stream = BatchPipeline(Identity(4, length=10), parts.agent, window_size=128, seed=0).episodes()
    first = parts.agent.learn(next(stream))
    for _ in range(15):
        last = parts.agent.learn(next(stream))
    np.testing.assert_array_equal(parts.agent.act_batch(np.eye(4, dtype=np.float32), deterministic=True), range(4))
    assert np.mean([next(stream).total_reward / 128 for _ in range(3)]) > 0.9
    assert last["entropy"] < first["entropy"]


def test_it_learns_an_action_that_is_a_number() -> None:
    env = Tiny(1, "terminated", lambda action: -float((action[0] - 0.5) ** 2), spaces.Box(-1.0, 1.0, (1,), np.float32))
    parts = Parts(1, 1, gaussian=True, learning_rate=0.01, entropy_coef=0.0)
    stream = BatchPipeline(env, parts.agent, window_size=128, seed=0).episodes()
    before = -next(stream).total_reward / 128
    for _ in range(40):
        parts.agent.learn(next(stream))
    greedy = parts.agent.act_batch(np.ones((1, 1), np.float32), deterministic=True)
    assert greedy[0, 0] == pytest.approx(0.5, abs=0.1)
    assert -next(stream).total_reward / 128 < before / 4
