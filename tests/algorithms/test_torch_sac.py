"""What is PyTorch's own in SAC; `test_sac.py` tests the recipe on both frameworks."""

import numpy as np
import pytest
import torch

from tensor_optix import HyperparamSet, TorchSACAgent
from tensor_optix.errors import (
    ContractError,
)
from tests.algorithms.off_policy import (
    sac,
    torch_net,
    window,
)
from tests.fakes.weights import weights_of


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_steps_equal_eager_ones() -> None:
    agents = [sac("torch", tau=0.05, compile=compile) for compile in (False, True)]
    for i in range(2):
        found = [agent.learn(window(10, seed=i, discrete=False)) for agent in agents]
        assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-5)
    assert agents[1]._update.is_compiled
    ours, theirs = map(weights_of, agents)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)


def test_running_statistics_are_each_models_own() -> None:
    def net(inputs: int, outputs: int) -> torch.nn.Sequential:
        return torch.nn.Sequential(torch.nn.Linear(inputs, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, outputs))

    nets = [net(3, 4), net(5, 1), net(5, 1)]
    alpha = [torch.nn.Parameter(torch.zeros(1))]
    trained = (nets[0].parameters(), [*nets[1].parameters(), *nets[2].parameters()], alpha)
    given = HyperparamSet({"batch_size": 8, "learning_starts": 8, "replay_capacity": 100})
    agent = TorchSACAgent(*nets, 2, *(torch.optim.Adam(p) for p in trained), given, seed=0)
    assert agent.learn(window(8, discrete=False))["n_updates"] == 8
    for model in nets:  # each was in training mode in its own objective only
        assert int(model[1].num_batches_tracked) == 8  # type: ignore[arg-type]
        assert not model.training


@pytest.mark.parametrize("parameters", [[torch.zeros(2)], [torch.zeros(1), torch.zeros(1)]], ids=["two", "twice"])
def test_a_pytorch_temperature_is_one_number(parameters: list[torch.Tensor]) -> None:
    nets = [torch_net(3, 4), torch_net(5, 1), torch_net(5, 1)]
    optimizers = [torch.optim.Adam(p) for p in (nets[0].parameters(), [*nets[1].parameters(), *nets[2].parameters()])]
    alpha = torch.optim.Adam([p.requires_grad_() for p in parameters])
    with pytest.raises(ContractError, match="must train log α, one tensor of one number"):
        TorchSACAgent(*nets, 2, *optimizers, alpha, HyperparamSet({}))


def test_a_critic_that_is_not_trained() -> None:
    nets = [torch_net(3, 4), torch_net(5, 1), torch_net(5, 1)]
    optimizers = [
        torch.optim.Adam(p) for p in (nets[0].parameters(), nets[1].parameters(), [torch.nn.Parameter(torch.zeros(1))])
    ]
    with pytest.raises(ContractError, match="critic_optimizer does not train 'critic2"):
        TorchSACAgent(*nets, 2, *optimizers, HyperparamSet({}))
