"""When the signal of a hyper-parameter is to be followed."""

import math
from collections.abc import Mapping

from tensor_optix.core.decisions.trend import is_improvement
from tensor_optix.core.search_space import Param, Signal
from tensor_optix.core.types import EvalMetrics
from tensor_optix.optimizers._evidence import ScoreRange
from tensor_optix.support.arguments import is_real

_MAX_CORRECTION = 4.0
"""Largest factor of one correction."""
_UNCERTAIN = 0.25
"""A policy is uncertain above this share of its highest entropy so far: four choices are 0.25·log 4 where one of them
has 92 %, a Gaussian that began with σ = 1 has σ = 0.35."""
_ERRORS = 2.0
"""A score is below the best by more than this many standard errors."""


class SignalWatch:
    """Follows signals, and remembers how uncertain the policy has been.

    Args:
        most_uncertain: what `state_dict` returned.
    """

    def __init__(self, most_uncertain: Mapping[str, float] | None = None) -> None:
        self._highest = dict(most_uncertain or {})

    def observe(self, space: Mapping[str, Param], metrics: Mapping[str, object]) -> None:
        """Note how uncertain the policy is, for each signal in `space`."""
        for param in space.values():
            if param.signal is not None and is_real(value := metrics.get(param.signal.uncertainty)):
                name = param.signal.uncertainty
                self._highest[name] = max(float(value), self._highest.get(name, -math.inf))

    def correction(self, signal: Signal, metrics: EvalMetrics, scores: ScoreRange, std_err: float) -> float:
        """Return the factor by which the parameter is to be moved, from a quarter to 4; 1 where it is to stay.

        It is raised only while the policy is uncertain, and its score below the best or nothing learned yet: the
        diagnostic of a policy that has converged is low at any value.

        Args:
            signal: the parameter's.
            metrics: the newest evaluation.
            scores: the range of all scores so far.
            std_err: standard error of one score.
        """
        factor = min(max(signal.correction(metrics.metrics), 1.0 / _MAX_CORRECTION), _MAX_CORRECTION)
        if factor > 1.0 and not (self._is_uncertain(signal, metrics) and _is_behind(metrics, scores, std_err)):
            return 1.0
        return factor

    def state_dict(self) -> dict[str, float]:
        """Return the highest of each measure of uncertainty."""
        return dict(self._highest)

    def _is_uncertain(self, signal: Signal, metrics: EvalMetrics) -> bool:
        value = metrics.metrics.get(signal.uncertainty)
        if not is_real(value):
            return True  # not measured
        return float(value) > _UNCERTAIN * max(self._highest[signal.uncertainty], 0.0)


def _is_behind(metrics: EvalMetrics, scores: ScoreRange, std_err: float) -> bool:
    has_learned = is_improvement(scores.highest or 0.0, scores.lowest, _ERRORS * std_err)
    return not has_learned or is_improvement(scores.highest or 0.0, metrics.utility, _ERRORS * std_err)
