"""Whether a policy still changes, as its updates tell. Pure functions of the diagnostics of the newest evaluations.

The measure is `approx_kl`, the divergence of a policy from the one before the update: E[(r − 1) − log r] for the ratio
r of the probabilities. What does not report it is known neither to change nor to have stopped.
Source: Approximating KL Divergence (Schulman, 2020).
"""

import math
from collections.abc import Sequence

from tensor_optix.core.types import EvalMetrics
from tensor_optix.support.arguments import is_real

STOPPED = 1e-4
"""Mean `approx_kl` below which an update changes nothing: a twentieth of where a learning rate counts as too small."""

CHANGING = 0.002
"""Mean from which a policy is known to change: below it PPO's learning rate is too small to do more."""


def has_stopped_changing(evaluations: Sequence[EvalMetrics], least: int) -> bool:
    """Return True if the mean divergence of the newest `least` evaluations, all of which report it, is below `STOPPED`.

    Args:
        evaluations: the newest ones, in the order of time.
        least: how many it takes, >= 1.
    """
    known = _known(evaluations[-least:])
    return len(known) >= least and math.fsum(known) / len(known) < STOPPED


def still_changes(evaluations: Sequence[EvalMetrics]) -> bool:
    """Return True if the mean divergence of some evaluations, as far as they report it, is at least `CHANGING`.

    Args:
        evaluations: the newest ones.
    """
    known = _known(evaluations)
    return bool(known) and math.fsum(known) / len(known) >= CHANGING


def _known(evaluations: Sequence[EvalMetrics]) -> list[float]:
    reported = [metrics.metrics.get("approx_kl") for metrics in evaluations]
    return [float(value) for value in reported if is_real(value) and math.isfinite(value)]
