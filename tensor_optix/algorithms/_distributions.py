"""Action distributions: what the actor's output means. One object each, over the same few operations.

Acting works on numpy arrays, the loss on the backend's tensors; both read `params`, the actor's output (B, P).
"""

import math
from typing import Any, Protocol

import numpy as np

from tensor_optix.adapters._checks import check_actions
from tensor_optix.adapters.backend import Ops
from tensor_optix.errors import InvalidArgumentError

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class Distribution(Protocol):
    """What PPO asks of an action distribution."""

    name: str

    def sample(self, params: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one action per row of `params` (..., P)."""
        ...

    def mode(self, params: np.ndarray) -> np.ndarray:
        """Return the greedy action per row of `params` (..., P)."""
        ...

    def log_prob_and_entropy(self, ops: Ops, params: Any, actions: Any) -> tuple[Any, Any]:
        """Return log π(a|s) (B,) and H(π(·|s)) (B,)."""
        ...

    def output_size(self, action_space: Any) -> int | None:
        """Return P for a Gymnasium action space, None if the distribution cannot serve it."""
        ...

    def check_actions(self, actions: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless the actions of T = `length` steps can be drawn from P = `size` parameters."""
        ...


class Categorical:
    """One of n actions; `params` are logits (B, n). Actions are integers."""

    name = "categorical"

    def sample(self, params: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw by the Gumbel-max trick: argmax(logits + Gumbel(0, 1) noise)."""
        return (params + rng.gumbel(size=params.shape)).argmax(-1)

    def mode(self, params: np.ndarray) -> np.ndarray:
        """Return the likeliest action."""
        return params.argmax(-1)

    def log_prob_and_entropy(self, ops: Ops, params: Any, actions: Any) -> tuple[Any, Any]:
        """Log π(a|s) = log_softmax(logits)ₐ;  H = −Σ π log π."""
        log_probs = ops.log_softmax(params)
        return ops.gather(log_probs, actions), -ops.sum(ops.exp(log_probs) * log_probs)

    def output_size(self, action_space: Any) -> int | None:
        """Return n for `Discrete(n)` that starts at 0."""
        n = getattr(action_space, "n", None)
        is_plain = getattr(action_space, "shape", ()) == () and getattr(action_space, "start", 0) == 0
        return int(n) if n is not None and is_plain else None

    def check_actions(self, actions: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless the actions are integers below n."""
        check_actions(actions, length, n=size)


class DiagonalGaussian:
    """Independent normal distributions; `params` are [mean ‖ log_std] (B, 2A). Actions are float32 (B, A).

    log_std is held in [-20, 2]. Actions are unbounded here; the pipeline clips and rescales them for the environment.
    """

    name = "gaussian"

    def sample(self, params: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A = μ + σ·ε, ε ~ N(0, 1)."""
        mean, log_std = np.split(params, 2, axis=-1)
        std = np.exp(np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX))
        return (mean + std * rng.standard_normal(mean.shape)).astype(np.float32)

    def mode(self, params: np.ndarray) -> np.ndarray:
        """Return μ."""
        return np.split(params, 2, axis=-1)[0].astype(np.float32)

    def log_prob_and_entropy(self, ops: Ops, params: Any, actions: Any) -> tuple[Any, Any]:
        """Log N(a; μ, σ) = −½ Σ ((a − μ)/σ)² − Σ log σ − A/2·log 2π;  H = Σ log σ + A/2·log 2πe."""
        size = params.shape[-1] // 2
        mean, log_std = params[..., :size], ops.clip(params[..., size:], LOG_STD_MIN, LOG_STD_MAX)
        z = (actions - mean) * ops.exp(-log_std)
        sum_log_std = ops.sum(log_std)
        log_prob = -0.5 * ops.sum(ops.square(z)) - sum_log_std - 0.5 * size * math.log(2 * math.pi)
        return log_prob, sum_log_std + 0.5 * size * math.log(2 * math.pi * math.e)

    def output_size(self, action_space: Any) -> int | None:
        """Return 2A for a flat `Box` of A numbers."""
        shape = getattr(action_space, "shape", None)
        if not hasattr(action_space, "low") or shape is None or len(shape) != 1:
            return None
        return 2 * shape[0] if np.issubdtype(action_space.dtype, np.floating) else None

    def check_actions(self, actions: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless the actions have A columns."""
        check_actions(actions, length, size=size // 2)


_DISTRIBUTIONS: dict[str, Distribution] = {d.name: d for d in (Categorical(), DiagonalGaussian())}


def distribution_named(name: str) -> Distribution:
    """Return the distribution of that name.

    Raises:
        InvalidArgumentError: an unknown name.
    """
    if name not in _DISTRIBUTIONS:
        raise InvalidArgumentError(f"distribution must be one of {sorted(_DISTRIBUTIONS)}, but got {name!r}.")
    return _DISTRIBUTIONS[name]


def distribution_for(action_space: Any) -> Distribution | None:
    """Return the distribution that serves a Gymnasium action space, None if none does."""
    return next((d for d in _DISTRIBUTIONS.values() if d.output_size(action_space) is not None), None)
