"""Recurrent Keras models: step by step as at once, whatever begins within a sequence."""

from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters._architecture import Architecture, RecurrentArchitecture
from tensor_optix.adapters.tensorflow._recurrent import KerasRecurrentPredictor, RecurrentNetwork, build


def made(cell: Any, **more: Any) -> RecurrentNetwork:
    head = Architecture(
        input_shape=(5,), hidden=(4,), outputs=3, activation="tanh", initial="orthogonal", head_gain=0.01
    )
    architecture = RecurrentArchitecture(head=head, input_shape=(2,), cell=cell, **more)
    return build(architecture, np.random.SeedSequence(0))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_by_step_is_the_same_as_at_once(cell: str) -> None:
    network, rng = made(cell), np.random.default_rng(0)
    seen, begins = rng.normal(size=(3, 7, 2)), np.zeros((3, 7), bool)
    begins[1, 3], begins[2, [0, 4, 5]] = True, True
    memory = rng.normal(size=(3, network.memory_size))
    predict = KerasRecurrentPredictor(network)
    outputs, after = predict(seen, memory, begins)
    assert outputs.shape == (3, 7, 4)
    for t in range(7):
        one, memory = predict(seen[:, t : t + 1], memory, begins[:, t : t + 1])
        np.testing.assert_allclose(one[:, 0], outputs[:, t], atol=1e-6)
    np.testing.assert_allclose(memory, after, atol=1e-6)


def test_a_free_deviation_stands_behind_the_means() -> None:
    network = made("gru", has_log_std=True)
    network.log_std.assign([1.0, 2.0, 3.0])
    outputs, _ = KerasRecurrentPredictor(network)(
        np.zeros((1, 1, 2)), np.zeros((1, network.memory_size)), np.ones((1, 1), bool)
    )
    assert outputs.shape == (1, 1, 7)
    assert outputs[0, 0, 3:6].tolist() == [1.0, 2.0, 3.0]


def test_the_same_seed_gives_the_same_network_and_an_lstm_begins_with_its_forget_gate_open() -> None:
    first, second = made("lstm"), made("lstm")
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert first.policy_cell.bias.numpy().tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
