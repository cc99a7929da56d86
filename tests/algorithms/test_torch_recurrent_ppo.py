"""Recurrent PPO with a PyTorch network of one's own; the recipe is tested in `test_recurrent_ppo`."""

import numpy as np
import torch
from torch import nn

from tensor_optix import BatchPipeline, HyperparamSet, TorchRecurrentPPOAgent


class Own(nn.Module):
    """A GRU cell, step by step."""

    memory_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 8), nn.Linear(8, 3)

    def forward(
        self, observations: torch.Tensor, memory: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = []
        for t in range(observations.shape[1]):
            memory = self.cell(observations[:, t], memory * (~begins[:, t, None]))
            outputs.append(self.head(memory))
        return torch.stack(outputs, 1), memory


def test_a_network_of_ones_own_learns() -> None:
    torch.manual_seed(0)
    network = Own()
    params = HyperparamSet({"n_epochs": 2, "sequence_length": 8})
    agent = TorchRecurrentPPOAgent(network, torch.optim.Adam(network.parameters(), lr=1e-2), params, seed=0)
    assert agent.get_hyperparams().params["learning_rate"] == 1e-2
    pipeline = BatchPipeline("CartPole-v1", agent, window_size=50, seed=0)
    pipeline.setup()
    before = network.head.weight.detach().clone()
    diagnostics = agent.learn(next(iter(pipeline.episodes())))
    assert np.isfinite(list(diagnostics.values())).all()
    assert not torch.equal(network.head.weight, before)
