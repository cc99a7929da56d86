"""Modules of several inputs."""

import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix.adapters.pytorch.inputs import PairModel, TorchDictModel, check_inputs, pair_model
from tensor_optix.errors import ContractError, SpaceError
from tests.fakes.torch_models import DICT, OfDict, OfTwo, dense


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


def test_a_module_that_needs_several_arguments_is_refused() -> None:
    check_inputs("actor", nn.DataParallel(dense(2)))
    with pytest.raises(ContractError, match="actor takes 2 inputs"):
        check_inputs("actor", OfTwo(1))
