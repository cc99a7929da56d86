"""Action distributions: what the actor's output means. One object each, over the same few operations.

Acting works on numpy arrays, the loss on the backend's tensors; both read `params`, the actor's output (B, P).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tensor_optix.adapters._checks import check_action_masks, check_actions
from tensor_optix.adapters.backend import Ops, Tensor
from tensor_optix.core.types import Space
from tensor_optix.errors import InvalidArgumentError, SpaceError

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
FORBIDDEN = -1e8
"""Logit of a masked action: its probability is exactly 0, and so is its share of entropy and gradient."""


@runtime_checkable
class Distribution(Protocol):
    """What PPO asks of an action distribution."""

    name: str

    def sample(self, params: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one action per row of `params` (..., P)."""
        ...

    def mode(self, params: np.ndarray) -> np.ndarray:
        """Return the greedy action per row of `params` (..., P)."""
        ...

    def log_prob_and_entropy(self, ops: Ops, params: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log π(a|s) (B,) and H(π(·|s)) (B,)."""
        ...

    def output_size(self, action_space: object) -> int | None:
        """Return P for a Gymnasium action space, None if the distribution cannot serve it."""
        ...

    def check_actions(self, actions: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless the actions of T = `length` steps can be drawn from P = `size` parameters."""
        ...

    def check_masks(self, masks: np.ndarray, length: int, size: int) -> None:
        """Raise unless bool `masks` (B = `length`, P = `size`) leave each row something to draw; see `masked`.

        Raises:
            BadDataError: another shape, or a row in which nothing is allowed.
            SpaceError: these actions cannot be masked.
        """
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

    def log_prob_and_entropy(self, ops: Ops, params: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log π(a|s) = log_softmax(logits)ₐ;  H = −Σ π log π."""
        log_probs = ops.log_softmax(params)
        return ops.gather(log_probs, actions), -ops.sum(ops.exp(log_probs) * log_probs)

    def output_size(self, action_space: object) -> int | None:
        """Return n for `Discrete(n)`; wherever it starts, its choices are counted from 0 here."""
        n = getattr(action_space, "n", None)
        return int(n) if n is not None and getattr(action_space, "shape", ()) == () else None

    def check_actions(self, actions: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless the actions are integers below n."""
        check_actions(actions, length, n=size)

    def check_masks(self, masks: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless each row allows an action."""
        check_action_masks(masks, length, (size,))


class MultiCategorical:
    """Several independent choices: one of nvec[i] actions each; `params` are their logits side by side (B, Σ nvec).

    Actions are int64 (B, K), K = len(nvec). `MultiBinary(n)` is nvec = [2] * n.

    Args:
        nvec: number of actions of each choice.

    Raises:
        InvalidArgumentError: no choices, or one among fewer than 1.
    """

    name = "multi_categorical"

    def __init__(self, nvec: Sequence[int]) -> None:
        self.nvec = tuple(int(n) for n in nvec)
        if not self.nvec or min(self.nvec) < 1:
            raise InvalidArgumentError(f"nvec must be at least one number of actions, each >= 1, but got {nvec!r}.")
        self._parts = [slice(*ends) for ends in itertools.pairwise(itertools.accumulate(self.nvec, initial=0))]

    def __repr__(self) -> str:
        return f"MultiCategorical({list(self.nvec)})"

    def sample(self, params: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw each choice by the Gumbel-max trick."""
        return self.mode(params + rng.gumbel(size=params.shape))

    def mode(self, params: np.ndarray) -> np.ndarray:
        """Return the likeliest action of each choice."""
        return np.stack([params[..., part].argmax(-1) for part in self._parts], axis=-1)

    def log_prob_and_entropy(self, ops: Ops, params: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log π(a|s) = Σᵢ log πᵢ(aᵢ|s);  H = Σᵢ Hᵢ."""
        log_prob, entropy = 0.0, 0.0
        for i, part in enumerate(self._parts):
            of_choice = _CATEGORICAL.log_prob_and_entropy(ops, params[..., part], actions[..., i])
            log_prob, entropy = log_prob + of_choice[0], entropy + of_choice[1]
        return log_prob, entropy

    def output_size(self, action_space: object) -> int | None:
        """Return Σ nvec for the `MultiDiscrete(nvec)`, or the `MultiBinary`, of these sizes."""
        return sum(self.nvec) if _nvec_of(action_space) == self.nvec else None

    def check_actions(self, actions: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless the actions have K columns of integers below nvec."""
        check_actions(actions, length, n=np.array(self.nvec), size=len(self.nvec))

    def check_masks(self, masks: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless each row allows an action in each choice."""
        check_action_masks(masks, length, self.nvec)


class DiagonalGaussian:
    """Independent normal distributions; `params` are [mean ‖ log_std] (B, 2A). Actions are float32 (B, A).

    log_std is held in [-20, 2]. Actions are unbounded here; the pipeline clips and rescales them for the environment.
    """

    name = "gaussian"

    def sample(self, params: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A = μ + σ·ε, ε ~ N(0, 1)."""
        size = params.shape[-1] // 2
        mean, log_std = params[..., :size], params[..., size:]
        std = np.exp(np.minimum(np.maximum(log_std, LOG_STD_MIN), LOG_STD_MAX))
        return (mean + std * rng.standard_normal(mean.shape)).astype(np.float32)

    def mode(self, params: np.ndarray) -> np.ndarray:
        """Return μ."""
        return params[..., : params.shape[-1] // 2].astype(np.float32)

    def log_prob_and_entropy(self, ops: Ops, params: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log N(a; μ, σ) = −½ Σ ((a − μ)/σ)² − Σ log σ − A/2·log 2π;  H = Σ log σ + A/2·log 2πe."""
        size = params.shape[-1] // 2
        mean, log_std = params[..., :size], ops.clip(params[..., size:], LOG_STD_MIN, LOG_STD_MAX)
        z = (actions - mean) * ops.exp(-log_std)
        sum_log_std = ops.sum(log_std)
        log_prob = -0.5 * ops.sum(ops.square(z)) - sum_log_std - 0.5 * size * math.log(2 * math.pi)
        return log_prob, sum_log_std + 0.5 * size * math.log(2 * math.pi * math.e)

    def output_size(self, action_space: Space) -> int | None:
        """Return 2A for a `Box` of A numbers."""
        if not hasattr(action_space, "low") or not np.issubdtype(action_space.dtype, np.floating):
            return None
        return 2 * math.prod(action_space.shape)

    def check_actions(self, actions: np.ndarray, length: int, size: int) -> None:
        """Raise `BadDataError` unless the actions have A columns."""
        check_actions(actions, length, size=size // 2)

    def check_masks(self, masks: np.ndarray, length: int, size: int) -> None:
        """Raise `SpaceError`: numbers have no masks."""
        raise SpaceError(
            "Action masks forbid single actions of a Discrete, MultiDiscrete or MultiBinary space, but a 'gaussian' "
            "policy draws numbers. Remove the masks, or let the environment clip the actions."
        )


_CATEGORICAL = Categorical()
_DISTRIBUTIONS: dict[str, Distribution] = {d.name: d for d in (_CATEGORICAL, DiagonalGaussian())}


def masked(ops: Ops, params: Tensor, masks: Tensor) -> Tensor:
    """Return logits (..., P) under which what `masks` (..., P) bool forbids is never drawn.

    The others keep their odds: log-probabilities and entropies are those of the renormalised distribution.
    """
    return ops.where(masks, params, FORBIDDEN)


def distribution_named(name: str) -> Distribution:
    """Return the distribution of that name.

    Raises:
        InvalidArgumentError: an unknown name, or `"multi_categorical"`, of which the sizes must be known, too.
    """
    if not isinstance(name, str) or name not in _DISTRIBUTIONS:
        remedy = " Pass MultiCategorical(nvec) itself." if name == MultiCategorical.name else ""
        raise InvalidArgumentError(f"distribution must be one of {sorted(_DISTRIBUTIONS)}, but got {name!r}.{remedy}")
    return _DISTRIBUTIONS[name]


def as_distribution(given: str | Distribution) -> Distribution:
    """Return the distribution that an agent's argument `distribution` stands for: a name, or the object.

    Raises:
        InvalidArgumentError: an unknown name, or an object of another kind.
    """
    if isinstance(given, Distribution):
        return given
    return distribution_named(given)


def as_argument(distribution: Distribution) -> str:
    """Return how to write a distribution as an agent's argument."""
    return repr(distribution.name if distribution.name in _DISTRIBUTIONS else distribution)


def distribution_for(action_space: object) -> Distribution | None:
    """Return the distribution that serves a Gymnasium action space, None if none does."""
    nvec = _nvec_of(action_space)
    if nvec is not None:
        return MultiCategorical(nvec)
    return next((d for d in _DISTRIBUTIONS.values() if d.output_size(action_space) is not None), None)


def _nvec_of(action_space: object) -> tuple[int, ...] | None:
    """Return the number of actions of each choice of a MultiDiscrete or MultiBinary, None for other spaces."""
    size = math.prod(getattr(action_space, "shape", None) or (0,))
    nvec, n = getattr(action_space, "nvec", None), getattr(action_space, "n", None)
    if nvec is not None and size:
        return tuple(int(n) for n in np.reshape(nvec, -1))
    return (2,) * size if n is not None and size else None
