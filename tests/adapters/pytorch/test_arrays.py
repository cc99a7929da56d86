"""Tensors as arrays, and the numbers that models compute with."""

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch._arrays import as_array, input_dtype, loss_dtype, on_copies, taking
from tests.fakes import torch_models as t
from tests.fakes.cycles import assert_same, weights_of, window


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
def test_an_array_has_the_tensors_type_and_memory_of_its_own(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, dtype=dtype)
    array = as_array(tensor)
    assert torch.from_numpy(array).dtype is dtype
    tensor.zero_()
    assert array.all()


def test_bfloat16_goes_out_as_float32_without_loss() -> None:
    tensor = torch.randn(100).bfloat16()
    array = as_array(tensor)
    assert array.dtype == np.float32
    assert torch.equal(torch.from_numpy(array).bfloat16(), tensor)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([torch.float32], torch.float32),
        ([torch.bfloat16, torch.bfloat16], torch.float32),
        ([torch.bfloat16, torch.float64], torch.float64),
    ],
)
def test_losses_are_computed_in_float32_or_more(dtypes: list[torch.dtype], expected: torch.dtype) -> None:
    assert loss_dtype([nn.Linear(1, 1, dtype=dtype) for dtype in dtypes]) is expected


def test_a_model_takes_and_gives_what_losses_are_computed_in() -> None:
    model = nn.Linear(2, 1).bfloat16()
    assert taking(model, torch.float32)(torch.ones(3, 2)).dtype is torch.float32
    plain = nn.Linear(2, 1)
    assert taking(plain, torch.float32) is plain


def test_a_model_of_indices_takes_what_its_other_weights_are_of() -> None:
    assert input_dtype(nn.Tanh()) is torch.float32
    assert input_dtype(nn.Embedding(3, 2, dtype=torch.float64)) is torch.float64


def test_a_model_that_works_in_place_learns_as_one_that_works_on_a_copy() -> None:
    """Actor and critic read the same minibatch, as do DQN's network and its lagged copy."""
    for kind in (t.ppo, t.dqn):
        one, other = kind(t.InPlace)(0), kind(t.Aside)(0)
        for seed in range(2):
            given = window(seed=seed)
            before = np.array(given.observations)
            one.learn(given)
            other.learn(window(seed=seed))
            np.testing.assert_array_equal(given.observations, before)
        assert_same(weights_of(one), weights_of(other), "in place")


def test_modules_of_pytorch_are_called_as_they_are_unless_they_are_told_to_work_in_place() -> None:
    plain = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert on_copies(plain) is plain
    given = -torch.ones(1, 2)
    assert torch.equal(on_copies(nn.Sequential(nn.ReLU(inplace=True)))(given), torch.zeros(1, 2))
    assert torch.equal(given, -torch.ones(1, 2))
    plain.register_forward_pre_hook(lambda _, inputs: (inputs[0].zero_(),))
    on_copies(plain)(given)
    assert torch.equal(given, -torch.ones(1, 2))
