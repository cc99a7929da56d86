"""Modules of several inputs."""

from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix.adapters.pytorch.inputs import MemberModel, PairModel, TorchDictModel, member_model, pair_model
from tensor_optix.errors import ContractError, SpaceError
from tests.fakes.torch_models import DICT, CriticOfDict, OfDict, OfMembers, OfTwo, dense


def test_a_module_gets_the_members_of_the_space() -> None:
    inner = OfDict(2)
    x = torch.arange(18.0).reshape(2, 9)
    expected = inner({"image": x[:, :4].reshape(2, 2, 2), "side": x[:, 4:7], "speed": x[:, 7:]})
    assert torch.equal(TorchDictModel(DICT, inner)(x), expected)


def test_a_tuple_space_gives_a_tuple() -> None:
    class Last(nn.Module):
        def forward(self, x: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return x[1]

    model = TorchDictModel(spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (3,))]), Last())
    assert model(torch.arange(5.0)[None]).tolist() == [[2.0, 3.0, 4.0]]


def test_a_space_without_members_is_refused() -> None:
    with pytest.raises(SpaceError):
        TorchDictModel(spaces.Discrete(2), nn.Identity())


def test_a_module_of_two_inputs_gets_them_apart() -> None:
    critic = OfTwo(1)
    made = pair_model(critic, 2)
    pair = torch.randn(3, 6)
    assert isinstance(made, PairModel)
    assert torch.equal(made(pair), critic(pair[:, :4], pair[:, 4:]))


@pytest.mark.parametrize("model", [dense(1), "no module", None])
def test_whatever_else_is_left_as_it_is(model: object) -> None:
    assert pair_model(model, 2) is model


X = torch.arange(18.0).reshape(2, 9)
MEMBERS = {"image": X[:, :4].reshape(2, 2, 2), "side": X[:, 4:7], "speed": X[:, 7:]}


@pytest.mark.parametrize("make", [OfDict, OfMembers, lambda n: nn.Sequential(OfDict(4), nn.Tanh(), nn.Linear(4, n))])
def test_a_module_that_takes_members_needs_no_wrapper(make: Any) -> None:
    inner = make(2)
    model = member_model(inner)
    assert isinstance(model, MemberModel)
    model.members.wire(DICT)
    expected = inner(**MEMBERS) if isinstance(inner, OfMembers) else inner(MEMBERS)
    assert torch.equal(model(X), expected)
    assert torch.equal(model(X.reshape(2, 1, 9)[:, 0]), expected)


@pytest.mark.parametrize("model", [dense(2), nn.Flatten(), nn.DataParallel(dense(2)), nn.Sequential(), "no module"])
def test_a_module_of_one_array_is_left_as_it_is(model: Any) -> None:
    assert member_model(model) is model


def test_a_critic_takes_members_and_the_action() -> None:
    critic = CriticOfDict(1)
    model = pair_model(critic, 2)
    model.members.wire(DICT)
    assert torch.equal(model(torch.cat([X, X[:, :2]], -1)), critic(MEMBERS, X[:, :2]))
    given = pair_model(TorchDictModel(DICT, critic), 2)
    assert torch.equal(given(torch.cat([X, X[:, :2]], -1)), critic(MEMBERS, X[:, :2]))


class Remembering(nn.Module):
    """Adds what it sees to its memory."""

    memory_size = 2

    def forward(
        self, x: dict[str, torch.Tensor], memory: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([x["image"].flatten(-2), x["side"]], -1), memory + x["speed"].sum(1)


def test_a_recurrent_module_takes_the_members_of_sequences() -> None:
    model = member_model(Remembering(), 2)
    model.members.wire(DICT)
    outputs, after = model(X.reshape(1, 2, 9), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    assert model.memory_size == 2
    assert torch.equal(outputs, X.reshape(1, 2, 9)[..., :7])
    assert after.tolist() == [[7 + 16 + 1, 8 + 17 + 1]]


def test_before_it_is_wired_the_remedy_is_named() -> None:
    for make in (OfDict, OfMembers):
        with pytest.raises(ContractError, match=rf"{make.__name__} takes the members.*TorchDictModel\(env.observation"):
            member_model(make(2))(X)
