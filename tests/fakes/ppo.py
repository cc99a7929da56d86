"""PPO agents on PyTorch with their parts, and windows to train them on."""

from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters.pytorch._predictor import LogStd
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet

torch.set_num_threads(1)


class Parts:
    """An agent with the models and the optimizer it was made of."""

    def __init__(
        self, size: int = 3, n: int = 2, *, gaussian: bool = False, hidden: int = 8, seed: int = 0, **params: Any
    ) -> None:
        torch.manual_seed(seed)
        self.actor = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, n))
        if gaussian:
            self.actor.append(LogStd(n))
        self.critic = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.optimizer = torch.optim.Adam([*self.actor.parameters(), *self.critic.parameters()], lr=3e-4)
        name = "gaussian" if gaussian else "categorical"
        self.agent = TorchPPOAgent(
            self.actor, self.critic, self.optimizer, HyperparamSet(params), distribution=name, seed=seed
        )

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in (*self.actor.parameters(), *self.critic.parameters())]


def assert_same_weights(first: Parts, second: Parts) -> None:
    for one, other in zip(first.weights(), second.weights(), strict=True):
        assert torch.equal(one, other)


def window(length: int = 32, **fields: Any) -> EpisodeData:
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((length, 3)).astype(np.float32)
    values: dict[str, Any] = {
        "observations": observations,
        "actions": rng.integers(0, 2, length),
        "rewards": rng.standard_normal(length).astype(np.float32),
        "terminated": rng.random(length) < 0.1,
        "truncated": rng.random(length) < 0.1,
        "next_observations": np.concatenate([observations[1:], np.ones((1, 3), np.float32)]),
    }
    return EpisodeData(**(values | fields))


def continuous_window() -> EpisodeData:
    return window(actions=np.random.default_rng(1).standard_normal((32, 2)).astype(np.float32))


ONE_STEP = {"n_epochs": 1, "minibatch_size": 10_000}
"""A single update on the whole window, so that its diagnostics are those of the unchanged policy."""
