"""Returns, advantages and minibatches over one window. Numpy only, no policy in it."""

import numpy as np

from tensor_optix.errors import InvalidArgumentError


def compute_gae(
    rewards: object,
    values: object,
    next_values: object,
    terminated: object,
    ends: object,
    gamma: float,
    gae_lambda: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Generalised advantage estimation, with a time limit told apart from a death.

    δₜ = rₜ + γ·V(s′ₜ)·(1 − terminatedₜ) − V(sₜ)
    Aₜ = δₜ + γλ·(1 − endₜ)·Aₜ₊₁
    Rₜ = Aₜ + V(sₜ)

    `terminated` masks the bootstrap; `ends` cuts the recursion. λ = 1 gives Monte-Carlo returns, λ = 0 one-step TD.
    Source: High-Dimensional Continuous Control Using Generalized Advantage Estimation (Schulman et al., 2016).

    Args:
        rewards: (T,) rₜ.
        values: (T,) V(sₜ).
        next_values: (T,) V(s′ₜ), s′ₜ being what the environment returned for step t, before any reset.
        terminated: (T,) bool, the task ended at step t.
        ends: (T,) bool, the row after t is not its successor: end of episode, of environment, or of the window.
        gamma: γ, discount per step, in [0, 1].
        gae_lambda: λ, in [0, 1].

    Returns:
        Advantages (T,) and value targets (T,), float32.
    """
    rewards, values, next_values = (np.asarray(x, np.float64) for x in (rewards, values, next_values))
    not_terminated, goes_on = (1.0 - np.asarray(x, np.float64) for x in (terminated, ends))
    deltas = (rewards + gamma * next_values * not_terminated - values).tolist()
    decays = (gamma * gae_lambda * goes_on).tolist()
    # Plain floats: indexing a numpy array element by element would be several times slower.
    advantage = 0.0
    advantages = [0.0] * len(deltas)
    for t in range(len(deltas) - 1, -1, -1):
        advantage = deltas[t] + decays[t] * advantage
        advantages[t] = advantage
    result = np.array(advantages)
    return result.astype(np.float32), (result + values).astype(np.float32)


def discounted_returns(rewards: object, ends: object, gamma: float, bootstrap: object = 0.0) -> np.ndarray:
    """Return Gₜ = rₜ + γ·Gₜ₊₁ within each segment, as float32 (T,).

    Args:
        rewards: (T,) rₜ.
        ends: (T,) bool, last row of each segment; nothing flows across it.
        gamma: γ, discount per step, in [0, 1].
        bootstrap: (T,) or scalar, what is assumed to follow the last row of a segment (already 0 where it terminated).
    """
    rewards = np.asarray(rewards, np.float64)
    follows = np.broadcast_to(np.asarray(bootstrap, np.float64), rewards.shape).tolist()
    cut = np.asarray(ends, bool).tolist()
    steps = rewards.tolist()
    returns, following = [0.0] * len(steps), 0.0
    for t in range(len(steps) - 1, -1, -1):
        following = steps[t] + gamma * (follows[t] if cut[t] else following)
        returns[t] = following
    return np.array(returns, np.float32)


def make_minibatches(n_steps: int, minibatch_size: int, n_epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of every minibatch of an update: (K, B) with K = n_epochs·⌈T/B⌉ and B = min(minibatch_size, T).

    Each epoch visits every row in a new random order. All minibatches have one size, which compiled updates need: where
    B does not divide T, the last one of an epoch is filled up with rows drawn from that epoch's beginning.

    Args:
        n_steps: T, rows in the window.
        minibatch_size: B, rows per minibatch.
        n_epochs: passes over the window.
        rng: where the order comes from.
    """
    if min(n_steps, minibatch_size, n_epochs) < 1:
        raise InvalidArgumentError(
            f"n_steps, minibatch_size and n_epochs must be at least 1, but got {n_steps}, {minibatch_size}, {n_epochs}."
        )
    size = min(minibatch_size, n_steps)
    per_epoch = -(-n_steps // size)
    epochs = [np.resize(rng.permutation(n_steps), per_epoch * size) for _ in range(n_epochs)]
    return np.concatenate(epochs).reshape(n_epochs * per_epoch, size)


def explained_variance(values: object, targets: object) -> float:
    """Return 1 − Var(R − V)/Var(R): 1 is a perfect critic, 0 a useless one, below 0 a harmful one; 0 for constant R."""
    values, targets = np.asarray(values, np.float64), np.asarray(targets, np.float64)
    variance = targets.var()
    # Rounding leaves a trace of variance in targets that are all alike.
    if variance <= 1e-12 * float(np.square(targets).mean()):
        return 0.0
    return float(1.0 - (targets - values).var() / variance)
