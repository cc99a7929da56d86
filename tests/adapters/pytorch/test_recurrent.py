"""Recurrent modules: episodes within a sequence are as sequences of their own, and nothing global is drawn from."""

from typing import Any

import numpy as np
import pytest
import torch

from tensor_optix.adapters._architecture import Architecture, RecurrentArchitecture
from tensor_optix.adapters.pytorch._recurrent import RecurrentNetwork, TorchRecurrentPredictor, build

cells = pytest.mark.parametrize("cell", ["lstm", "gru"])


def made(cell: Any, **more: Any) -> RecurrentNetwork:
    head = Architecture(
        input_shape=(5,), hidden=(4,), outputs=3, activation="tanh", initial="orthogonal", head_gain=0.01
    )
    generator = torch.Generator().manual_seed(0)
    return build(RecurrentArchitecture(head=head, input_shape=(2,), cell=cell, **more), generator)


def sequences() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 7, 2)), np.zeros((3, 7), bool), rng.normal(size=(3, made("lstm").memory_size))


@cells
def test_step_by_step_is_the_same_as_at_once(cell: str) -> None:
    network = made(cell)
    seen, begins, memory = sequences()
    begins[1, 3], begins[2, [0, 4, 5]] = True, True
    memory = memory[:, : network.memory_size]
    predict = TorchRecurrentPredictor(network)
    outputs, after = predict(seen, memory, begins)
    assert outputs.shape == (3, 7, 4)
    for t in range(7):
        one, memory = predict(seen[:, t : t + 1], memory, begins[:, t : t + 1])
        np.testing.assert_allclose(one[:, 0], outputs[:, t], atol=1e-6)
    np.testing.assert_allclose(memory, after, atol=1e-6)


@cells
def test_the_outputs_are_the_same_under_gradients(cell: str) -> None:
    network = made(cell)
    seen, begins, memory = sequences()
    begins[:, 2] = True
    memory = memory[:, : network.memory_size]
    given = [torch.tensor(array, dtype=torch.float32) for array in (seen, memory)]
    outputs, _ = network(*given, torch.tensor(begins))
    expected, _ = TorchRecurrentPredictor(network)(seen, memory, begins)
    np.testing.assert_allclose(outputs.detach().numpy(), expected, atol=1e-6)


def test_a_free_deviation_stands_behind_the_means() -> None:
    network = made("gru", has_log_std=True)
    assert network.log_std is not None
    with torch.no_grad():
        network.log_std[:] = torch.tensor([1.0, 2.0, 3.0])
    outputs, _ = TorchRecurrentPredictor(network)(
        np.zeros((1, 1, 2)), np.zeros((1, network.memory_size)), np.ones((1, 1), bool)
    )
    assert outputs.shape == (1, 1, 7)
    assert outputs[0, 0, 3:6].tolist() == [1.0, 2.0, 3.0]


def test_an_lstm_begins_with_its_forget_gate_open_and_draws_from_its_own_generator() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    cell: Any = made("lstm").policy.cell
    assert torch.equal(torch.random.get_rng_state(), before)
    assert cell.bias_ih_l0.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    for gate in cell.weight_hh_l0.detach().split(5):
        np.testing.assert_allclose(gate @ gate.T, np.eye(5), atol=1e-5)
