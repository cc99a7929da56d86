"""The losses by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.backend import Ops
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms._losses import (
    PPOLoss,
    huber_td_loss,
    ppo_loss,
    sac_actor_loss,
    sac_alpha_loss,
    sac_critic_loss,
    squared_td_loss,
    td_target,
)

torch.set_num_threads(1)

RATIOS = np.array([1.5, 1.5, 0.5, 0.5])
ADVANTAGES = np.array([1.0, -1.0, 1.0, -1.0])
"""Mean 0, deviation 1: normalised already."""


def loss(ops: Ops = NUMPY_OPS, **fields: Any) -> PPOLoss:
    size = len(fields.get("log_prob", RATIOS))
    defaults: dict[str, Any] = {
        "log_prob": np.log(RATIOS) - 1.0,
        "old_log_prob": np.full(size, -1.0),
        "advantage": ADVANTAGES,
        "value": np.zeros(size),
        "target_return": np.zeros(size),
        "entropy": np.zeros(size),
        "clip_ratio": 0.2,
        "vf_coef": 0.5,
        "entropy_coef": 0.01,
    }
    return ppo_loss(ops, **(defaults | fields))


def test_the_surrogate_is_clipped_where_that_is_the_pessimistic_side() -> None:
    # min(1.5, 1.2), min(-1.5, -1.2), min(0.5, 0.8), min(-0.5, -0.8): mean -0.15
    assert loss().policy_loss == pytest.approx(0.15, rel=1e-6)


@pytest.mark.parametrize(
    ("ratio", "sign", "surrogate"),
    [
        (1.5, 1, 1.2),  # better than before and done enough: clipped
        (1.5, -1, -1.5),  # worse, and made likelier: not clipped
        (0.5, 1, 0.5),  # better, and made rarer: not clipped
        (0.5, -1, -0.8),  # worse and made rare enough: clipped
        (1.1, 1, 1.1),
        (0.9, -1, -0.9),
    ],
)
def test_each_case_of_clipping(ratio: float, sign: int, surrogate: float) -> None:
    # A second row of the opposite sign with ratio 1 keeps the advantages normalised; its surrogate is -sign.
    result = loss(
        log_prob=np.log([ratio, 1.0]), old_log_prob=np.zeros(2), advantage=np.array([1.0 * sign, -1.0 * sign])
    )
    assert result.policy_loss == pytest.approx(-(surrogate - sign) / 2, rel=1e-6)


def test_only_unclipped_rows_have_a_gradient() -> None:
    log_prob = torch.tensor(np.log(RATIOS), requires_grad=True)
    result = loss(
        TorchBackend.ops,
        log_prob=log_prob,
        old_log_prob=torch.zeros(4),
        advantage=torch.tensor(ADVANTAGES),
        value=torch.zeros(4),
        target_return=torch.zeros(4),
        entropy=torch.zeros(4),
    )
    (gradient,) = torch.autograd.grad(result.loss, log_prob)
    # d/dlog π of −r·Â/4 = −r·Â/4
    np.testing.assert_allclose(gradient.numpy(), [0.0, 1.5 / 4, -0.5 / 4, 0.0], rtol=1e-6)


def test_the_value_loss_is_the_mean_squared_error_without_a_half() -> None:
    result = loss(value=np.array([1.0, 2.0, 3.0, 4.0]), target_return=np.array([0.0, 2.0, 5.0, 4.0]))
    assert result.value_loss == pytest.approx((1 + 0 + 4 + 0) / 4)


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    result = loss(
        value=np.full(4, 3.0), entropy=np.array([0.1, 0.2, 0.3, 0.4]), vf_coef=0.25, entropy_coef=2.0, clip_ratio=0.2
    )
    assert result.entropy == pytest.approx(0.25)
    assert result.loss == pytest.approx(0.15 + 0.25 * 9.0 - 2.0 * 0.25, rel=1e-6)


def test_advantages_are_normalised_over_the_minibatch() -> None:
    shifted = loss(advantage=1000 + 7 * ADVANTAGES)
    assert shifted.policy_loss == pytest.approx(loss().policy_loss, rel=1e-5)


def test_kl_is_the_low_variance_estimate_and_never_negative() -> None:
    expected = np.mean([(r - 1) - math.log(r) for r in RATIOS])
    assert loss().approx_kl == pytest.approx(expected, rel=1e-6)
    for ratio in (0.3, 0.999, 1.0, 1.001, 3.0):
        assert loss(log_prob=np.full(4, math.log(ratio) - 1)).approx_kl >= 0.0


@pytest.mark.parametrize(("ratios", "share"), [([1.0, 1.1, 0.9, 1.3], 0.25), ([1.0] * 4, 0.0), ([0.7, 1.3, 2, 0.1], 1)])
def test_the_clip_fraction_counts_the_ratios_outside_the_trust_region(ratios: list[float], share: float) -> None:
    assert loss(log_prob=np.log(ratios) - 1).clip_fraction == share


def test_an_unchanged_policy_has_a_loss_of_zero_and_no_divergence() -> None:
    result = loss(log_prob=np.full(4, -1.0), advantage=np.array([3.0, 1.0, -7.0, 2.0]))
    assert result.policy_loss == pytest.approx(0.0, abs=1e-12)
    assert result.approx_kl == result.clip_fraction == 0.0


@pytest.mark.parametrize("advantage", [[5.0], [0.0], [-1e6]])
def test_one_row_is_finite_and_teaches_the_policy_nothing(advantage: list[float]) -> None:
    result = loss(log_prob=np.array([-0.5]), advantage=np.array(advantage), value=np.ones(1))
    assert all(np.isfinite(part) for part in result)
    assert result.policy_loss == 0.0


def test_equal_advantages_are_finite_and_teach_the_policy_nothing() -> None:
    result = loss(advantage=np.full(4, 3.0))
    assert all(np.isfinite(part) for part in result)
    assert result.policy_loss == pytest.approx(0.0, abs=1e-6)


def test_numpy_and_torch_agree() -> None:
    rng = np.random.default_rng(0)
    names = ("log_prob", "old_log_prob", "advantage", "value", "target_return", "entropy")
    arrays = {name: rng.standard_normal(32) * 0.3 for name in names}
    ours = loss(**arrays)
    theirs = loss(TorchBackend.ops, **{name: torch.from_numpy(array) for name, array in arrays.items()})
    for name, one, other in zip(PPOLoss._fields, ours, theirs, strict=True):
        assert float(one) == pytest.approx(float(other), rel=1e-6), name


def test_a_death_has_no_future_and_a_time_limit_has_one() -> None:
    target = td_target(
        reward=np.array([1.0, 2.0]), terminated=np.array([0.0, 1.0]), next_q=np.array([10.0, 10.0]), gamma=0.5
    )
    np.testing.assert_array_equal(target, [6.0, 2.0])


def test_the_huber_loss_is_half_the_square_near_and_linear_far() -> None:
    q, target = np.array([0.5, 3.0, -4.0]), np.zeros(3)
    assert huber_td_loss(NUMPY_OPS, q=q, target=target, huber_delta=1.0) == pytest.approx(
        (0.125 + 2.5 + 3.5) / 3, rel=1e-6
    )
    assert squared_td_loss(NUMPY_OPS, q=q, target=target) == pytest.approx((0.25 + 9 + 16) / 3)


def test_the_huber_loss_has_a_gradient_at_no_error() -> None:
    q = torch.zeros(3, requires_grad=True)
    huber_td_loss(TorchBackend.ops, q=q, target=torch.zeros(3), huber_delta=1.0).backward()
    assert q.grad is not None
    assert torch.equal(q.grad, torch.zeros(3))


def test_sac_losses_by_hand() -> None:
    assert sac_critic_loss(
        NUMPY_OPS, q1=np.array([1.0, 2.0]), q2=np.array([3.0, 4.0]), target=np.array([1.0, 1.0])
    ) == pytest.approx(0.5 + 6.5)
    assert sac_actor_loss(
        NUMPY_OPS, log_prob=np.array([-1.0, 1.0]), q1=np.array([1.0, 5.0]), q2=np.array([2.0, 4.0]), alpha=0.5
    ) == pytest.approx((-0.5 - 1.0 + 0.5 - 4.0) / 2)


def test_the_temperature_grows_while_the_entropy_is_below_its_target() -> None:
    for entropy, direction in ((-3.0, -1.0), (0.5, 1.0)):
        log_alpha = torch.zeros((), requires_grad=True)
        sac_alpha_loss(TorchBackend.ops, log_alpha=log_alpha, entropy=entropy, target_entropy=-1.0).backward()
        assert log_alpha.grad is not None
        assert float(log_alpha.grad) * direction > 0  # a step against the gradient
