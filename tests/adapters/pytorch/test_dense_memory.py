"""Weights in one vector while they are trained, and the gradients that add up beside them."""

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch._dense_layers import layers_of, model_of
from tensor_optix.adapters.pytorch._dense_memory import Gradients, Memory, UnsupportedError
from tensor_optix.adapters.pytorch._tape import Taped


def test_weights_in_memory_are_read_there_until_they_are_written_back() -> None:
    layer, memory = nn.Linear(2, 1, bias=False), Memory()
    vector = memory.hold([layer.weight])
    vector[:] = [3.0, 5.0]
    model = model_of(layers_of(layer), memory, Gradients([]), None)
    assert model(Taped(np.ones((1, 2), np.float32))).array.item() == 8.0
    assert layer.weight.tolist() != [[3.0, 5.0]]
    memory.write_back()
    assert layer.weight.tolist() == [[3.0, 5.0]]
    with pytest.raises(UnsupportedError):  # two optimizers would train it
        memory.hold([layer.weight])


def test_the_first_term_of_a_gradient_replaces_that_of_the_last_loss_and_the_others_are_added() -> None:
    layer = nn.Linear(2, 1)
    gradients = Gradients([layer.weight, layer.bias])
    weight, bias = gradients.of(layer.weight), gradients.of(layer.bias)
    assert weight is not None
    assert bias is not None
    assert gradients.of(nn.Parameter(torch.ones(1))) is None
    for _ in range(2):  # a loss knows nothing of the one before
        weight.add(np.float32([[1.0, 2.0]]))
        weight.add_product(np.float32([[3.0]]), np.float32([[1.0, 1.0]]))
        bias.add_product(np.float32([2.0]), np.float32([[4.0]]))
        gradients.finish()
        assert gradients.flat.tolist() == [4.0, 5.0, 8.0]
    weight.add(np.float32([[1.0, 2.0]]))
    gradients.finish()  # none for the bias
    assert gradients.flat.tolist() == [1.0, 2.0, 0.0]


@pytest.mark.parametrize(
    "tensor", [torch.ones(2, dtype=torch.float64), torch.ones(1, device="meta"), torch.ones(2, 3).T]
)
def test_weights_of_another_kind_are_not_held(tensor: torch.Tensor) -> None:
    with pytest.raises(UnsupportedError):
        Memory().hold([tensor])
