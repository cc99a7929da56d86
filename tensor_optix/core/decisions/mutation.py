"""How a variant comes to differ from its parent: how strongly, in which hyper-parameters, and in its weights."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tensor_optix.core.decisions.trend import MIN_POINTS, recent, slope, train_scores
from tensor_optix.core.search_space import SearchSpace
from tensor_optix.core.types import EvalMetrics, Params
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import check_amount, check_count, is_real

_EPSILON = 1e-8


@runtime_checkable
class PerturbsWeights(Protocol):
    """An agent whose weights can be disturbed."""

    def perturb_weights(self, scale: float, rng: np.random.Generator) -> None:
        """Add noise to each weight tensor: normal, with `scale` times the tensor's own root mean square as σ."""


def mutate(params: Params, space: SearchSpace, scale: float, rng: np.random.Generator) -> dict[str, object]:
    """Return `params` with each tunable value moved by a normal step, inside its bounds.

        uᵢ' = reflect(uᵢ + scale·N(0, 1)),  u = the value on its own scale, mapped onto [0, 1]

    A step over a bound is reflected, so that values do not pile up there. Whole numbers stay whole.

    Args:
        params: the parent's values.
        space: what may be moved.
        scale: standard deviation of the step, as a share of the range.
        rng: where the steps come from.

    Raises:
        InvalidArgumentError: a negative scale.
    """
    check_amount("noise_scale", scale)
    mutated = dict(params)
    for name, param in space.items():
        moved = param.to_unit(params[name]) + scale * float(rng.standard_normal())
        if scale > 0.0:
            mutated[name] = param.from_unit(_reflected(moved))
    return mutated


def _reflected(unit: float) -> float:
    """Fold the line onto [0, 1], as if there were mirrors at both ends."""
    unit = unit % 2.0
    return 2.0 - unit if unit > 1.0 else unit


def adaptive_noise_scale(
    history: Sequence[EvalMetrics], min_scale: float = 0.001, max_scale: float = 0.1, window: int = 10
) -> float:
    """Return how strongly to mutate, from three signals of the recent evaluations.

        t            = clip(slope(val)/max_slope, 0, 1)           1 while validation improves, 0 on a plateau
        gap_penalty  = clip(mean(train − val)/|mean(val)|, 0, 1)   it fits what it saw and not what it did not
        corr_penalty = clip(1 − Pearson(train, val), 0, 1)        training moves and validation does not follow
        effective_t  = t·(1 − ½·gap_penalty)·(1 − ½·corr_penalty)
        noise_scale  = max_scale − effective_t·(max_scale − min_scale)

    `max_slope` is the slope of a straight climb over the whole range of the scores: (max − min)/(n − 1). Without
    validation, train = val; where a correlation is not defined because one of the two does not move, it is 0.

    Args:
        history: evaluations in the order of time; those that are no evidence are left out.
        min_scale: what a healthy, improving policy gets.
        max_scale: what a plateau gets.
        window: how many of the newest evaluations are looked at; at least 3.

    Raises:
        InvalidArgumentError: scales that are negative or out of order.
    """
    if not (is_real(min_scale) and is_real(max_scale) and 0.0 <= min_scale <= max_scale):
        raise InvalidArgumentError(
            f"`0 <= min_scale <= max_scale` must hold, but got min_scale={min_scale!r}, max_scale={max_scale!r}."
        )
    check_count("window", window, MIN_POINTS)
    newest = recent(history, window)
    val = np.array([metrics.utility for metrics in newest], np.float64)
    if val.size < 2 or np.ptp(val) == 0.0:
        return max_scale
    train = train_scores(newest)
    improving = _clip(slope(val) / (np.ptp(val) / (val.size - 1)))
    gap_penalty = _clip((train - val).mean() / (abs(val.mean()) + _EPSILON))
    corr_penalty = _clip(1.0 - _pearson(train, val))
    effective = improving * (1.0 - 0.5 * gap_penalty) * (1.0 - 0.5 * corr_penalty)
    return float(max_scale - effective * (max_scale - min_scale))


def _clip(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / norm if norm > 0.0 else 0.0
