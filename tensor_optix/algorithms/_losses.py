"""The losses, as in the papers, over the operations that every backend has."""

from typing import Any, NamedTuple

from tensor_optix.adapters.backend import Ops


class PPOLoss(NamedTuple):
    """The loss of one minibatch and what is worth knowing of it; all are scalars."""

    loss: Any
    policy_loss: Any
    value_loss: Any
    entropy: Any
    approx_kl: Any
    clip_fraction: Any


def ppo_loss(
    ops: Ops,
    *,
    log_prob: Any,
    old_log_prob: Any,
    advantage: Any,
    value: Any,
    target_return: Any,
    entropy: Any,
    clip_ratio: Any,
    vf_coef: Any,
    entropy_coef: Any,
) -> PPOLoss:
    """Clipped surrogate objective.

    rₜ(θ) = π_θ(aₜ|sₜ) / π_θ_old(aₜ|sₜ)
    L_clip = E[min(rₜ·Âₜ, clip(rₜ, 1−ε, 1+ε)·Âₜ)],  L_vf = E[(V_θ(sₜ) − Rₜ)²],  L_ent = E[H(π_θ(·|sₜ))]
    L = −L_clip + c₁·L_vf − c₂·L_ent

    Â is the advantage normalised over the minibatch, (A − mean A)/(std A + 1e-8).
    Source: Proximal Policy Optimization Algorithms (Schulman et al., 2017). `approx_kl` is E[(r − 1) − log r], the
    low-variance estimator of Approximating KL Divergence (Schulman, 2020).

    Args:
        ops: the backend.
        log_prob: (B,) log π_θ(a|s).
        old_log_prob: (B,) log π_θ_old(a|s).
        advantage: (B,) A, not normalised.
        value: (B,) V_θ(s).
        target_return: (B,) R.
        entropy: (B,) H(π_θ(·|s)).
        clip_ratio: ε.
        vf_coef: c₁.
        entropy_coef: c₂.
    """
    centred = advantage - ops.mean(advantage)
    # The standard deviation of a one-row minibatch is 0, not NaN.
    normalised = centred / (ops.sqrt(ops.mean(ops.square(centred))) + 1e-8)
    log_ratio = log_prob - old_log_prob
    ratio = ops.exp(log_ratio)
    clipped = ops.clip(ratio, 1.0 - clip_ratio, 1.0 + clip_ratio)
    policy_loss = -ops.mean(ops.minimum(ratio * normalised, clipped * normalised))
    value_loss = ops.mean(ops.square(value - target_return))
    mean_entropy = ops.mean(entropy)
    return PPOLoss(
        loss=policy_loss + vf_coef * value_loss - entropy_coef * mean_entropy,
        policy_loss=policy_loss,
        value_loss=value_loss,
        entropy=mean_entropy,
        approx_kl=ops.mean((ratio - 1.0) - log_ratio),
        clip_fraction=ops.mean(ops.where(ops.square(ratio - 1.0) > clip_ratio * clip_ratio, 1.0, 0.0)),
    )
