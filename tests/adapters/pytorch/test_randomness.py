"""What modules draw comes from the agent's seed, and the rest of the program draws what it would have drawn."""

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import HyperparamSet
from tensor_optix.adapters.pytorch._randomness import TorchRandomness
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.errors import CheckpointMismatchError
from tests.fakes.cycles import window
from tests.fakes.torch_models import adam, dense


def seeded(seed: int | None) -> TorchRandomness:
    randomness = TorchRandomness()
    randomness.seed([nn.Linear(1, 1)], seed)
    return randomness


def drawn(randomness: TorchRandomness, n: int = 3) -> list[float]:
    with randomness:
        return torch.rand(n).tolist()


def test_the_same_seed_draws_the_same_whatever_the_program_draws() -> None:
    first, second = seeded(3), seeded(3)
    before = drawn(first)
    torch.rand(5)
    assert drawn(second) == before
    assert drawn(first) != before
    assert drawn(seeded(4)) != before
    assert drawn(seeded(None)) != drawn(seeded(None))


def test_the_program_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    expected = torch.rand(4).tolist()
    randomness = seeded(3)

    def fail() -> None:
        with randomness:
            torch.rand(2)
            raise KeyError

    torch.manual_seed(0)
    begun = torch.rand(2).tolist()
    drawn(randomness)
    with pytest.raises(KeyError):
        fail()
    assert begun + torch.rand(2).tolist() == expected


def test_within_itself_it_goes_on() -> None:
    one, other = seeded(3), seeded(3)
    with one:
        inner = [torch.rand(1).item()]
        inner += drawn(one, 1)
        inner.append(torch.rand(1).item())
    assert inner == drawn(other)


def test_it_goes_on_from_a_state() -> None:
    one, other = seeded(3), seeded(4)
    drawn(one)
    state = one.state()
    expected = drawn(one)
    other.restore(state)
    assert drawn(other) == expected
    other.restore({})  # a state of before there was one
    assert drawn(other) == drawn(one)


@pytest.mark.parametrize("wrong", [np.zeros(5056, np.uint8), np.zeros(3, np.uint8), np.zeros(5056, np.float32)])
def test_what_is_no_state_is_refused_and_changes_nothing(wrong: np.ndarray) -> None:
    one, other = seeded(3), seeded(3)
    with pytest.raises(CheckpointMismatchError, match="state of PyTorch's generator is none"):
        one.restore({"cpu": wrong})
    assert drawn(one) == drawn(other)


class DrawsInActing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)


def test_acting_learning_and_losses_of_the_users_own_draw_from_the_agents_seed() -> None:
    def made() -> TorchPPOAgent:
        torch.manual_seed(0)
        actor, critic = dense(2).append(DrawsInActing()), dense(1)
        return TorchPPOAgent(actor, critic, adam(actor, critic), HyperparamSet({"n_epochs": 1}), seed=5)

    one, other = made(), made()
    torch.manual_seed(1)
    outside = torch.rand(1).item()
    torch.manual_seed(1)
    observations = np.zeros((4, 4), np.float32)
    np.testing.assert_array_equal(one.action_probs(observations), other.action_probs(observations))
    one.learn(window())
    assert torch.rand(1).item() == outside
    other.learn(window())
    np.testing.assert_array_equal(one.action_probs(observations), other.action_probs(observations))
