import math

import numpy as np
import pytest
import torch

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.algorithms import _squashed_gaussian as squashed_gaussian

RNG = np.random.default_rng(0)
PARAMS = np.concatenate([RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3)) - 1.0], axis=1)
NOISE = RNG.normal(size=(40, 3))


def test_the_density_is_that_of_a_transformed_normal() -> None:
    actions, log_prob = squashed_gaussian.sample_with_log_prob(NUMPY_OPS, PARAMS, NOISE)
    base = torch.distributions.Normal(torch.tensor(PARAMS[:, :3]), torch.tensor(np.exp(PARAMS[:, 3:])))
    transformed = torch.distributions.TransformedDistribution(base, [torch.distributions.TanhTransform()])
    expected = transformed.log_prob(torch.tensor(actions)).sum(-1).numpy()
    near = (np.abs(actions) < 0.99).all(1)  # farther out, PyTorch's own loses digits
    assert near.sum() > 20
    np.testing.assert_allclose(log_prob[near], expected[near], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(actions, squashed_gaussian.sample(PARAMS, NOISE), atol=1e-6)


def test_the_density_integrates_to_one() -> None:
    params = np.array([[0.3, -0.5]])
    u = np.linspace(-12, 12, 200_001)[:, None]
    noise = (u - params[:, :1]) / np.exp(params[:, 1:])
    actions, log_prob = squashed_gaussian.sample_with_log_prob(NUMPY_OPS, np.repeat(params, len(u), 0), noise)
    assert np.trapezoid(np.exp(log_prob), actions[:, 0]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("backend", [TorchBackend, TFBackend], ids=["torch", "tf"])
def test_both_frameworks_compute_the_same(backend: type) -> None:
    import tensorflow as tf

    convert = torch.from_numpy if backend is TorchBackend else tf.constant
    actions, log_prob = squashed_gaussian.sample_with_log_prob(backend.ops, convert(PARAMS), convert(NOISE))  # type: ignore[attr-defined]
    expected = squashed_gaussian.sample_with_log_prob(NUMPY_OPS, PARAMS, NOISE)
    np.testing.assert_allclose(actions.numpy(), expected[0], atol=1e-12)
    np.testing.assert_allclose(log_prob.numpy(), expected[1], atol=1e-10)


@pytest.mark.parametrize("mean", [-60.0, 60.0])
def test_far_out_the_density_and_its_gradient_stay_finite(mean: float) -> None:
    params = torch.tensor([[mean, 2.0]], requires_grad=True)
    _, log_prob = squashed_gaussian.sample_with_log_prob(TorchBackend.ops, params, torch.tensor([[1.0]]))
    log_prob.sum().backward()
    u = mean + math.exp(2.0)
    exact = -0.5 - 2.0 - 0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - abs(u))
    assert float(log_prob.detach()) == pytest.approx(exact, rel=1e-5)
    assert params.grad is not None
    assert torch.isfinite(params.grad).all()


def test_actions_lie_in_the_open_interval() -> None:
    params = np.array([[50.0, -50.0, 0.0, 0.0]], np.float32)
    for action in (squashed_gaussian.mode(params), squashed_gaussian.sample(params, np.zeros((1, 2), np.float32))):
        assert action.dtype == np.float32
        assert (np.abs(action) < 1.0).all()
