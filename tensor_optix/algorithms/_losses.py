"""The losses, as in the papers, over the operations that every backend has."""

from typing import NamedTuple

from tensor_optix.adapters.backend import Ops, Tensor


class PPOLoss(NamedTuple):
    """The loss of one minibatch and what is worth knowing of it; all are scalars."""

    loss: Tensor
    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


def ppo_loss(
    ops: Ops,
    *,
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    value: Tensor,
    target_return: Tensor,
    entropy: Tensor,
    clip_ratio: Tensor,
    vf_coef: Tensor,
    entropy_coef: Tensor,
    weights: Tensor = None,
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
        weights: (B,) of each row in all means; None = they weigh alike.
    """

    def mean(x: Tensor) -> Tensor:
        return ops.mean(x) if weights is None else ops.mean(x * weights) / ops.mean(weights)

    centred = advantage - mean(advantage)
    # The standard deviation of a one-row minibatch is 0, not NaN.
    normalised = centred / (ops.sqrt(mean(ops.square(centred))) + 1e-8)
    log_ratio = log_prob - old_log_prob
    ratio = ops.exp(log_ratio)
    clipped = ops.clip(ratio, 1.0 - clip_ratio, 1.0 + clip_ratio)
    policy_loss = -mean(ops.minimum(ratio * normalised, clipped * normalised))
    value_loss = mean(ops.square(value - target_return))
    mean_entropy = mean(entropy)
    return PPOLoss(
        loss=policy_loss + vf_coef * value_loss - entropy_coef * mean_entropy,
        policy_loss=policy_loss,
        value_loss=value_loss,
        entropy=mean_entropy,
        approx_kl=mean((ratio - 1.0) - log_ratio),
        clip_fraction=mean(ops.where(ops.square(ratio - 1.0) > clip_ratio * clip_ratio, 1.0, 0.0)),
    )


def td_target(*, reward: Tensor, terminated: Tensor, next_q: Tensor, gamma: Tensor) -> Tensor:
    """Y = r + γ·(1 − terminated)·Q(s′), all (B,): only a death has no future, a time limit has one."""
    return reward + gamma * (1.0 - terminated) * next_q


def squared_td_loss(ops: Ops, *, q: Tensor, target: Tensor) -> Tensor:
    """E[(Q(s, a) − y)²], (B,) each, y a constant.

    Source: Human-level control through deep reinforcement learning (Mnih et al., 2015).
    """
    return ops.mean(ops.square(q - target))


def huber_td_loss(ops: Ops, *, q: Tensor, target: Tensor, huber_delta: Tensor) -> Tensor:
    """E[½e² where |e| ≤ d, d·(|e| − ½d) elsewhere] with e = Q(s, a) − y, (B,) each, y a constant and d = `huber_delta`.

    Source: Robust Estimation of a Location Parameter (Huber, 1964).
    """
    squared = ops.square(q - target)
    # √(e² + tiny) in place of |e|, whose gradient at 0 would not be a number.
    linear = huber_delta * (ops.sqrt(squared + 1e-12) - 0.5 * huber_delta)
    return ops.mean(ops.where(squared <= huber_delta * huber_delta, 0.5 * squared, linear))


def sac_critic_loss(ops: Ops, *, q1: Tensor, q2: Tensor, target: Tensor) -> Tensor:
    """E[(Q₁(s, a) − y)²] + E[(Q₂(s, a) − y)²], all (B,).

    Source: Soft Actor-Critic Algorithms and Applications (Haarnoja et al., 2018).
    """
    return ops.mean(ops.square(q1 - target)) + ops.mean(ops.square(q2 - target))


def sac_actor_loss(ops: Ops, *, log_prob: Tensor, q1: Tensor, q2: Tensor, alpha: Tensor) -> Tensor:
    """E[α·log π(a|s) − min(Q₁, Q₂)(s, a)] with a drawn by reparameterisation; (B,) each, α a scalar.

    Source: Soft Actor-Critic Algorithms and Applications (Haarnoja et al., 2018).
    """
    return ops.mean(alpha * log_prob - ops.minimum(q1, q2))


def sac_alpha_loss(ops: Ops, *, log_alpha: Tensor, entropy: Tensor, target_entropy: float) -> Tensor:
    """L_α = −α·(E[log π(a|s)] + H_target) with α = exp(log α): α grows while the entropy −E[log π] is below its target.

    Source: Soft Actor-Critic Algorithms and Applications (Haarnoja et al., 2018).

    Args:
        ops: the backend.
        log_alpha: scalar.
        entropy: −E[log π(a|s)] of the minibatch, a constant.
        target_entropy: H_target, −dim(A) by default.
    """
    return -ops.exp(log_alpha) * (target_entropy - entropy)
