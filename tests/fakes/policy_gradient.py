"""A linear policy, an agent that learns it by plain gradient steps, and a window of six steps for it."""

from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters.pytorch.torch_agent import TorchAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet


def linear(size: int = 3, n_actions: int = 2, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(size, n_actions))


def agent_of(model: nn.Module, lr: float = 0.1, **params: Any) -> TorchAgent:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return TorchAgent(model, optimizer, HyperparamSet({"learning_rate": lr, **params}), seed=0)


def window(**fields: Any) -> EpisodeData:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "observations": rng.standard_normal((6, 3)).astype(np.float32),
        "actions": np.array([0, 1, 1, 0, 1, 0]),
        "rewards": np.array([1.0, 0.0, 2.0, -1.0, 3.0, 0.5], np.float32),
        "terminated": np.array([False, False, True, False, False, False]),
        "truncated": np.array([False, False, False, False, True, False]),
    }
    return EpisodeData(**(values | fields))
