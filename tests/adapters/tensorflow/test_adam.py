"""Adam as the paper has it: ε is added after the bias correction."""

import keras
import numpy as np
import pytest
import torch

from tensor_optix.adapters.tensorflow._adam import PaperAdam

GRADIENTS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def by_hand(rate: float, beta1: float, beta2: float, epsilon: float) -> np.ndarray:
    theta, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    for t, gradient in enumerate(GRADIENTS.astype(np.float64), 1):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        theta -= rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
    return theta


@pytest.mark.parametrize("epsilon", [1e-8, 1e-5, 0.1])
def test_steps_are_those_of_the_paper_and_of_pytorch(epsilon: float) -> None:
    variable = keras.Variable(np.ones(3, np.float32))
    optimizer = PaperAdam(0.1, beta_1=0.8, beta_2=0.95, epsilon=epsilon)
    parameter = torch.nn.Parameter(torch.ones(3))
    reference = torch.optim.Adam([parameter], lr=0.1, betas=(0.8, 0.95), eps=epsilon)
    for gradient in GRADIENTS:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        parameter.grad = torch.from_numpy(gradient.copy())
        reference.step()
    found = variable.numpy()
    assert found == pytest.approx(by_hand(0.1, 0.8, 0.95, epsilon), abs=1e-5)
    assert found == pytest.approx(parameter.detach().numpy(), abs=1e-5)


def test_a_rate_that_is_changed_is_in_force_in_the_next_step() -> None:
    variable = keras.Variable(np.ones(1, np.float32))
    optimizer = PaperAdam(0.1)
    optimizer.apply([keras.ops.ones(1)], [variable])
    optimizer.learning_rate = 0.0
    before = variable.numpy().copy()
    optimizer.apply([keras.ops.ones(1)], [variable])
    assert np.array_equal(variable.numpy(), before)
