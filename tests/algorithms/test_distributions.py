"""Action distributions against torch.distributions, and against their own samples."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.adapters.tensorflow._keras import tf
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.algorithms._distributions import (
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    as_argument,
    as_distribution,
    distribution_for,
    distribution_named,
    masked,
)
from tensor_optix.errors import BadDataError, InvalidArgumentError, SpaceError

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


# --- several choices at once ---

NVEC = (2, 4, 3)
MULTI_LOGITS = RNG.standard_normal((50, 9)) * 3
MULTI_CHOICES = np.stack([RNG.integers(0, n, 50) for n in NVEC], axis=1)


def test_multi_categorical_log_probabilities_and_entropies_are_sums_over_the_choices() -> None:
    logits = torch.from_numpy(MULTI_LOGITS).split(NVEC, dim=1)
    reference = [torch.distributions.Categorical(logits=part) for part in logits]
    expected = sum(d.log_prob(torch.from_numpy(MULTI_CHOICES[:, i])) for i, d in enumerate(reference))
    for log_prob, entropy in in_both(MultiCategorical(NVEC), MULTI_LOGITS, MULTI_CHOICES):
        assert log_prob.shape == entropy.shape == (50,)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-10)
        np.testing.assert_allclose(entropy, sum(d.entropy() for d in reference), rtol=1e-10)


def test_multi_categorical_by_hand() -> None:
    params = np.log([[0.2, 0.8, 0.5, 0.3, 0.2], [0.5, 0.5, 1 / 3, 1 / 3, 1 / 3]])
    log_prob, entropy = MultiCategorical([2, 3]).log_prob_and_entropy(NUMPY_OPS, params, np.array([[1, 2], [0, 1]]))
    np.testing.assert_allclose(log_prob, [np.log(0.8 * 0.2), -np.log(6)], rtol=1e-12)
    np.testing.assert_allclose(entropy, [0.5004024235 + 1.0296530140, np.log(6)], rtol=1e-9)


def test_multi_categorical_samples_come_in_the_frequencies_of_each_softmax() -> None:
    probabilities = [[0.1, 0.9], [0.2, 0.5, 0.3]]
    params = np.broadcast_to(np.log(np.concatenate(probabilities)), (40_000, 5))
    draws = MultiCategorical([2, 3]).sample(params, np.random.default_rng(0))
    assert draws.shape == (40_000, 2)
    assert draws.dtype == np.int64
    for i, expected in enumerate(probabilities):
        np.testing.assert_allclose(np.bincount(draws[:, i]) / 40_000, expected, atol=0.01)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03


def test_the_multi_categorical_mode_is_the_likeliest_of_each_choice() -> None:
    multi = MultiCategorical([2, 3])
    np.testing.assert_array_equal(multi.mode(np.array([[0.0, 1.0, 5.0, 2.0, 3.0], [1, 0, 0, 0, 9]])), [[1, 0], [0, 2]])
    assert multi.mode(np.zeros(5)).shape == (2,)
    assert multi.sample(np.zeros(5), np.random.default_rng(0)).shape == (2,)


@pytest.mark.parametrize("nvec", [[], [2, 0], [-1]])
def test_choices_among_nothing_are_refused(nvec: list[int]) -> None:
    with pytest.raises(InvalidArgumentError, match="nvec"):
        MultiCategorical(nvec)


# --- masks ---

MASKS = RNG.random((50, 9)) < 0.5
MASKS[np.arange(50), MULTI_CHOICES[:, 0]] = True
MASKS[np.arange(50), 2 + MULTI_CHOICES[:, 1]] = True
MASKS[np.arange(50), 6 + MULTI_CHOICES[:, 2]] = True
DISCRETE = [(Categorical(), (9,), 2 + MULTI_CHOICES[:, 1]), (MultiCategorical(NVEC), NVEC, MULTI_CHOICES)]


def renormalised(nvec: tuple[int, ...], actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability and entropy from the probabilities of what is allowed, divided by their sum."""
    log_prob, entropy, start = np.zeros(50), np.zeros(50), 0
    for n, chosen in zip(nvec, actions.reshape(50, -1).T, strict=True):
        p = np.exp(MULTI_LOGITS[:, start : start + n]) * MASKS[:, start : start + n]
        p /= p.sum(1, keepdims=True)
        log_prob += np.log(p[np.arange(50), chosen])
        entropy -= (p * np.log(np.where(p > 0, p, 1.0))).sum(1)
        start += n
    return log_prob, entropy


@pytest.mark.parametrize(("distribution", "nvec", "actions"), DISCRETE, ids=["categorical", "multi_categorical"])
def test_a_masked_distribution_is_the_renormalised_one(
    distribution: Any, nvec: tuple[int, ...], actions: np.ndarray
) -> None:
    logits = MULTI_LOGITS.astype(np.float32)
    of_framework = [
        (NUMPY_OPS, logits, actions, MASKS),
        (TorchBackend.ops, *map(torch.from_numpy, (logits, actions, MASKS))),
        (TFBackend.ops, tf.constant(logits), tf.constant(actions, tf.int32), tf.constant(MASKS)),
    ]
    for ops, params, chosen, allowed in of_framework:
        found = distribution.log_prob_and_entropy(ops, masked(ops, params, allowed), chosen)
        for one, expected in zip(found, renormalised(nvec, actions), strict=True):
            assert np.asarray(one).dtype == np.float32
            np.testing.assert_allclose(np.asarray(one), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("distribution", "nvec"), [(d, nvec) for d, nvec, _ in DISCRETE], ids=["one", "several"])
def test_what_is_forbidden_is_neither_drawn_nor_the_mode_nor_pulled_at(distribution: Any, nvec: Any) -> None:
    params = masked(NUMPY_OPS, MULTI_LOGITS, MASKS)
    offsets = np.cumsum([0, *nvec[:-1]])
    rng = np.random.default_rng(0)
    for actions in [distribution.mode(params)] + [distribution.sample(params, rng) for _ in range(200)]:
        assert MASKS[np.arange(50)[:, None], actions.reshape(50, -1) + offsets].all()
    logits = torch.tensor(MULTI_LOGITS, dtype=torch.float32, requires_grad=True)
    chosen = torch.from_numpy(distribution.mode(params))
    found = distribution.log_prob_and_entropy(
        TorchBackend.ops, masked(TorchBackend.ops, logits, torch.from_numpy(MASKS)), chosen
    )
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in found), logits)
    assert torch.isfinite(gradient).all()
    assert (gradient.numpy()[~MASKS] == 0.0).all()


def test_masks_that_allow_nothing_or_have_another_shape_are_refused_by_row_and_choice() -> None:
    masks = np.ones((4, 5), bool)
    masks[2, 2:] = False
    Categorical().check_masks(masks, 4, 5)
    with pytest.raises(BadDataError, match=r"Row 2 of the action masks allows no action of choice 1\."):
        MultiCategorical([2, 3]).check_masks(masks, 4, 5)
    masks[3] = False
    with pytest.raises(BadDataError, match=r"Row 3 of the action masks allows no action\."):
        Categorical().check_masks(masks, 4, 5)
    with pytest.raises(BadDataError, match=r"shape \(4, 6\), but have \(4, 5\)"):
        Categorical().check_masks(masks, 4, 6)
    with pytest.raises(SpaceError, match="gaussian"):
        DiagonalGaussian().check_masks(masks, 4, 5)


# --- which one serves what ---

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)


@pytest.mark.parametrize(
    ("space", "serving", "size"),
    [
        (spaces.Discrete(5), "'categorical'", 5),
        (spaces.Discrete(5, start=1), "'categorical'", 5),
        (BOX, "'gaussian'", 6),
        (spaces.Box(-1.0, 1.0, (1,), np.float64), "'gaussian'", 2),
        (spaces.Box(-1.0, 1.0, (2, 3), np.float32), "'gaussian'", 12),
        (spaces.Box(-1.0, 1.0, (), np.float32), "'gaussian'", 2),
        (spaces.Box(0, 255, (3,), np.uint8), None, None),
        (spaces.MultiDiscrete([2, 3]), "MultiCategorical([2, 3])", 5),
        (spaces.MultiDiscrete([2, 3], start=[0, 1]), "MultiCategorical([2, 3])", 5),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), "MultiCategorical([2, 3, 4, 5])", 14),
        (spaces.MultiBinary(3), "MultiCategorical([2, 2, 2])", 6),
        (spaces.MultiBinary((2, 2)), "MultiCategorical([2, 2, 2, 2])", 8),
        (spaces.Dict(a=BOX), None, None),
        (spaces.Tuple((BOX, BOX)), None, None),
    ],
    ids=str,
)
def test_the_distribution_and_the_size_of_the_actors_output_per_action_space(
    space: Any, serving: str | None, size: int | None
) -> None:
    found = distribution_for(space)
    assert (as_argument(found) if found else None) == serving
    assert (found.output_size(space) if found else None) == size
    for other in (Categorical(), DiagonalGaussian(), MultiCategorical([2, 3]), MultiCategorical([2, 2, 2])):
        assert other.output_size(space) == (size if as_argument(other) == serving else None)


def test_distributions_are_found_by_name() -> None:
    assert isinstance(distribution_named("categorical"), Categorical)
    assert isinstance(distribution_named("gaussian"), DiagonalGaussian)
    with pytest.raises(InvalidArgumentError, match=r"categorical.*gaussian.*'normal'"):
        distribution_named("normal")
    with pytest.raises(InvalidArgumentError, match=r"MultiCategorical\(nvec\)"):
        distribution_named("multi_categorical")


def test_an_agents_argument_is_a_name_or_the_distribution() -> None:
    multi = MultiCategorical([2, 3])
    assert as_distribution(multi) is multi
    assert as_distribution("gaussian") is distribution_named("gaussian")
    for wrong in (None, 3, ["categorical"]):
        with pytest.raises(InvalidArgumentError, match="distribution must be"):
            as_distribution(wrong)  # type: ignore[arg-type]
