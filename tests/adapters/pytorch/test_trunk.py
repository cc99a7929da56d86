"""An actor and a critic on one trunk in PyTorch: what they answer, and how often the trunk runs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch._trunk import JointModel, joint_model

torch.set_num_threads(1)
X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Counted(nn.Module):
    """A layer that notes how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.runs = nn.Linear(3, 4), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return self.layer(x)


def pair(*trunk: nn.Module, own: Callable[[], nn.Module] = nn.Tanh) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(1)
    actor, critic = (nn.Sequential(*trunk, own(), nn.Linear(4, n)) for n in (2, 1))
    return actor, critic


def test_it_answers_what_both_do_and_runs_the_trunk_once() -> None:
    counted = Counted()
    actor, critic = pair(counted, nn.Tanh())
    joint = joint_model(actor, critic)
    assert joint is not None
    found = joint(X)
    assert counted.runs == 1
    torch.testing.assert_close(found, torch.cat([actor(X), critic(X)], -1))


def test_its_gradients_are_those_of_both_and_each_weight_is_there_once() -> None:
    actor, critic = pair(nn.Linear(3, 4), nn.Tanh())
    joint = joint_model(actor, critic)
    assert joint is not None
    parameters = list(joint.parameters())
    assert len(joint.state_dict()) == len(parameters)
    assert [*map(id, parameters)] == [*map(id, dict.fromkeys([*actor.parameters(), *critic.parameters()]))]
    apart = torch.autograd.grad(actor(X).square().mean() + critic(X).sin().mean(), parameters)
    outputs = joint(X)
    together = torch.autograd.grad(outputs[:, :-1].square().mean() + outputs[:, -1:].sin().mean(), parameters)
    torch.testing.assert_close(together, apart)


def test_a_trunk_may_be_one_module() -> None:
    assert isinstance(joint_model(*pair(nn.Sequential(nn.Linear(3, 4), nn.Tanh()))), JointModel)


def test_one_activation_may_stand_in_several_places() -> None:
    tanh = nn.Tanh()
    actor, critic = pair(nn.Linear(3, 4), tanh, nn.Linear(4, 4), tanh, own=lambda: tanh)
    joint = joint_model(actor, critic)
    assert joint is not None
    torch.testing.assert_close(joint(X), torch.cat([actor(X), critic(X)], -1))


def test_layers_that_work_in_place_change_nothing_for_the_critic() -> None:
    actor, critic = pair(nn.Linear(3, 4))
    actor[1] = nn.ReLU(inplace=True)
    joint = joint_model(actor, critic)
    assert joint is not None
    found = joint(X)
    torch.testing.assert_close(found, torch.cat([actor(X), critic(X)], -1))
    found.sum().backward()


def hooked(actor: nn.Sequential) -> None:
    actor.register_forward_hook(lambda module, inputs, output: output + 1.0)


def with_a_forward_of_its_own(actor: Any) -> None:
    actor.forward = lambda x: nn.Sequential.forward(actor, x) + 1.0


@pytest.mark.parametrize("change", [hooked, with_a_forward_of_its_own])
def test_a_stack_that_does_more_than_its_layers_stays_apart(change: Callable[[nn.Sequential], None]) -> None:
    actor, critic = pair(nn.Linear(3, 4))
    change(actor)
    assert joint_model(actor, critic) is None


class Own(nn.Sequential):
    """A stack of the user's own class."""


@pytest.mark.parametrize(
    "apart",
    [
        lambda: (pair(nn.Linear(3, 4))[0], pair(nn.Linear(3, 4))[1]),
        lambda: pair(nn.Identity()),
        lambda: (Own(*pair(nn.Linear(3, 4))[0]), pair(nn.Linear(3, 4))[1]),
        lambda: (nn.Linear(3, 2), nn.Linear(3, 1)),
    ],
    ids=["alike", "no weights", "own class", "no stacks"],
)
def test_what_shares_no_weights_or_is_no_stack_stays_apart(apart: Callable[[], tuple[nn.Module, nn.Module]]) -> None:
    assert joint_model(*apart()) is None
