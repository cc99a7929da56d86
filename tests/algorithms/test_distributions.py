"""Action distributions against torch.distributions, and against their own samples."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms._distributions import (
    Categorical,
    DiagonalGaussian,
    distribution_for,
    distribution_named,
)
from tensor_optix.errors import InvalidArgumentError

torch.set_num_threads(1)

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((50, 4)) * 3
CHOICES = RNG.integers(0, 4, 50)
GAUSSIAN = np.concatenate([RNG.standard_normal((50, 3)), RNG.uniform(-3, 1.5, (50, 3))], axis=1)
POINTS = RNG.standard_normal((50, 3))


def in_both(distribution: Any, params: np.ndarray, actions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    in_numpy = distribution.log_prob_and_entropy(NUMPY_OPS, params, actions)
    in_torch = distribution.log_prob_and_entropy(TorchBackend.ops, torch.from_numpy(params), torch.from_numpy(actions))
    return [in_numpy, tuple(tensor.numpy() for tensor in in_torch)]


# --- categorical ---


def test_categorical_log_probabilities_and_entropies_are_the_reference() -> None:
    reference = torch.distributions.Categorical(logits=torch.from_numpy(LOGITS))
    for log_prob, entropy in in_both(Categorical(), LOGITS, CHOICES):
        assert log_prob.shape == entropy.shape == (50,)
        np.testing.assert_allclose(log_prob, reference.log_prob(torch.from_numpy(CHOICES)).numpy(), rtol=1e-10)
        np.testing.assert_allclose(entropy, reference.entropy().numpy(), rtol=1e-10)


def test_categorical_entropy_reaches_from_zero_to_log_n() -> None:
    params = np.array([[0.0, 0.0, 0.0], [200.0, 0.0, 0.0]])
    _, entropy = Categorical().log_prob_and_entropy(NUMPY_OPS, params, np.array([0, 0]))
    np.testing.assert_allclose(entropy, [np.log(3), 0.0], atol=1e-12)


def test_categorical_samples_come_in_the_frequencies_of_the_softmax() -> None:
    probabilities = np.array([0.05, 0.5, 0.3, 0.15])
    params = np.broadcast_to(np.log(probabilities) + 7.0, (40_000, 4))
    draws = Categorical().sample(params, np.random.default_rng(0))
    assert draws.shape == (40_000,)
    assert np.issubdtype(draws.dtype, np.integer)
    # Four standard errors of the likeliest one.
    np.testing.assert_allclose(np.bincount(draws, minlength=4) / 40_000, probabilities, atol=0.01)


def test_categorical_samples_of_different_rows_follow_their_own_row() -> None:
    params = np.array([[50.0, 0.0, 0.0], [0.0, 50.0, 0.0], [0.0, 0.0, 50.0]])
    np.testing.assert_array_equal(Categorical().sample(params, np.random.default_rng(0)), [0, 1, 2])


def test_the_categorical_mode_is_the_likeliest() -> None:
    np.testing.assert_array_equal(Categorical().mode(np.array([[0.1, 3.0, 2.0], [-1.0, -2.0, -3.0]])), [1, 0])


# --- gaussian ---


def test_gaussian_log_probabilities_and_entropies_are_the_reference() -> None:
    mean, log_std = (torch.from_numpy(part) for part in np.split(GAUSSIAN, 2, axis=1))
    reference = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    for log_prob, entropy in in_both(DiagonalGaussian(), GAUSSIAN, POINTS):
        assert log_prob.shape == entropy.shape == (50,)
        np.testing.assert_allclose(log_prob, reference.log_prob(torch.from_numpy(POINTS)).numpy(), rtol=1e-9)
        np.testing.assert_allclose(entropy, reference.entropy().numpy(), rtol=1e-9)


def test_gaussian_samples_have_the_mean_and_deviation_asked_for() -> None:
    params = np.broadcast_to([1.0, -2.0, np.log(0.5), np.log(2.0)], (40_000, 4))
    draws = DiagonalGaussian().sample(params, np.random.default_rng(0))
    assert draws.shape == (40_000, 2)
    assert draws.dtype == np.float32
    np.testing.assert_allclose(draws.mean(0), [1.0, -2.0], atol=0.05)
    np.testing.assert_allclose(draws.std(0), [0.5, 2.0], rtol=0.03)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03


def test_one_observation_gives_one_gaussian_action() -> None:
    assert DiagonalGaussian().sample(np.zeros(6), np.random.default_rng(0)).shape == (3,)


def test_the_gaussian_mode_is_the_mean() -> None:
    mode = DiagonalGaussian().mode(GAUSSIAN)
    assert mode.dtype == np.float32
    np.testing.assert_array_equal(mode, GAUSSIAN[:, :3].astype(np.float32))


@pytest.mark.parametrize(("log_std", "held"), [(50.0, 2.0), (-900.0, -20.0)])
def test_log_std_is_held_in_its_range_in_samples_and_densities_alike(log_std: float, held: float) -> None:
    gaussian = DiagonalGaussian()
    wild, tame = np.array([[0.0, log_std]]), np.array([[0.0, held]])
    np.testing.assert_array_equal(
        gaussian.sample(wild, np.random.default_rng(0)), gaussian.sample(tame, np.random.default_rng(0))
    )
    action = np.array([[np.exp(held)]])
    for one, other in zip(in_both(gaussian, wild, action), in_both(gaussian, tame, action), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()


# --- which one serves what ---

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)


@pytest.mark.parametrize(
    ("space", "categorical", "gaussian"),
    [
        (spaces.Discrete(5), 5, None),
        (BOX, None, 6),
        (spaces.Box(-1.0, 1.0, (1,), np.float64), None, 2),
        (spaces.Box(-1.0, 1.0, (2, 3), np.float32), None, None),
        (spaces.Box(-1.0, 1.0, (), np.float32), None, None),
        (spaces.Box(0, 255, (3,), np.uint8), None, None),
        (spaces.MultiDiscrete([2, 3]), None, None),
        (spaces.MultiBinary(4), None, None),
        (spaces.Dict(a=BOX), None, None),
        (spaces.Tuple((BOX, BOX)), None, None),
    ],
    ids=str,
)
def test_the_size_of_the_actors_output_per_action_space(space: Any, categorical: Any, gaussian: Any) -> None:
    assert Categorical().output_size(space) == categorical
    assert DiagonalGaussian().output_size(space) == gaussian
    serving = distribution_for(space)
    expected = "categorical" if categorical else "gaussian" if gaussian else None
    assert (serving.name if serving else None) == expected


def test_distributions_are_found_by_name() -> None:
    assert isinstance(distribution_named("categorical"), Categorical)
    assert isinstance(distribution_named("gaussian"), DiagonalGaussian)
    with pytest.raises(InvalidArgumentError, match=r"categorical.*gaussian.*'normal'"):
        distribution_named("normal")
