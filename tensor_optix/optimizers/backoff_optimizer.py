"""Two-phase finite difference, one hyper-parameter at a time, while the agent trains."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.search_space import Bounds, SearchSpace
from tensor_optix.core.trend import slope
from tensor_optix.core.types import EvalMetrics, HyperparamSet, jsonable
from tensor_optix.errors import InvalidArgumentError

_TREND_SCORES = 5
_SHRINK, _GROW = 0.9, 1.3


@dataclass(frozen=True)
class _Trial:
    """A value in force on probation."""

    name: str
    original: float
    applied: float
    direction: int
    expected_score: float


class BackoffOptimizer(BaseOptimizer):
    """Probes θ + δ for one evaluated window, then keeps it or turns round.

    Phase 1 (probe):  apply θᵢ + δᵢ, live to the next evaluation, s₊
    Phase 2 (commit): ĝᵢ = (s₊ − s₀)/δᵢ;  ĝᵢ > 0 keeps θᵢ + δᵢ, ĝᵢ ≤ 0 applies θᵢ − δᵢ around the original θᵢ

    A learning agent's score rises by itself, so s₀ is the score *expected* at the probe's window: the last one plus the
    trend of those without a probe. δᵢ is the step really taken after clipping; at the upper bound the probe goes down
    instead. After each commit one evaluation passes without a probe, so that the next s₀ is not of a trial. Names take
    turns in the order of the bounds.

    Args:
        param_bounds: what to tune, `Param` or `(low, high)` by name; None takes the agent's `default_param_bounds`.
        perturbation_scale: δ as a share of |θ| at the start (on a log scale: the factor is 1 + scale).
        min_delta: smallest δ on a linear scale, in the parameter's own units.
        min_scale: where the shrinking on improvement ends.
        max_scale: where the growing on a plateau ends.
        seed: which hyper-parameter has the first turn; None starts with the first.

    Raises:
        InvalidArgumentError: scales out of order or not positive.
    """

    def __init__(
        self,
        param_bounds: Bounds | None = None,
        perturbation_scale: float = 0.1,
        min_delta: float = 1e-4,
        min_scale: float = 0.02,
        max_scale: float = 0.5,
        seed: int | None = None,
    ) -> None:
        if not 0.0 < min_scale <= perturbation_scale <= max_scale:
            raise InvalidArgumentError(
                f"`0 < min_scale <= perturbation_scale <= max_scale` must hold, but got min_scale={min_scale!r}, "
                f"perturbation_scale={perturbation_scale!r}, max_scale={max_scale!r}."
            )
        if not min_delta > 0.0:
            raise InvalidArgumentError(f"min_delta must be positive, but got {min_delta!r}.")
        self._space = None if param_bounds is None else SearchSpace(param_bounds)
        self._scale, self._min_scale, self._max_scale = perturbation_scale, min_scale, max_scale
        self._min_delta = min_delta
        self._seed = seed
        self._turn: int | None = None
        self._trial: _Trial | None = None
        self._evaluations = 0
        self._unprobed: deque[tuple[int, float]] = deque(maxlen=_TREND_SCORES)
        """(number of the evaluation, score) of those without a probe, newest last."""

    def bind(self, bounds: Bounds, hyperparams: HyperparamSet) -> None:
        """Take the agent's bounds where the user gave none."""
        if self._space is None:
            self._space = SearchSpace(bounds)
        self._space.check_names(hyperparams.params)

    @property
    def is_probing(self) -> bool:
        """True while a trial value is in force."""
        return self._trial is not None

    @property
    def probed_param(self) -> str | None:
        """Name of the hyper-parameter on trial."""
        return self._trial.name if self._trial else None

    @property
    def scale(self) -> float:
        """Relative size of the next step."""
        return self._scale

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        """Return the values for the windows up to the next evaluation."""
        self._evaluations += 1
        score = float(metrics.primary_score)
        if self._trial is not None:
            return self._commit(self._trial, hyperparams, score)
        self._unprobed.append((self._evaluations, score))
        return self._probe(hyperparams)

    def on_improvement(self, metrics: EvalMetrics) -> None:
        """Shrink the step: what is in force works."""
        self._scale = max(self._scale * _SHRINK, self._min_scale)

    def on_plateau(self, metrics: EvalMetrics) -> None:
        """Grow the step: look farther away."""
        self._scale = min(self._scale * _GROW, self._max_scale)

    def _probe(self, hyperparams: HyperparamSet) -> HyperparamSet:
        """Put the next hyper-parameter on trial."""
        space = self._space or {}
        for _ in range(len(space)):
            name = self._next_name(list(space))
            param, value = space[name], hyperparams.params[name]
            for direction in (1, -1):
                applied = param.perturb(value, scale=self._scale, min_delta=self._min_delta, direction=direction)
                if applied != value and (applied > value) == (direction > 0):
                    self._trial = _Trial(name, jsonable(value), applied, direction, self._expected_score())
                    return _with(hyperparams, name, applied)
        return hyperparams

    def _expected_score(self) -> float:
        """Return s₀, the score that the next evaluation would have without a probe."""
        numbers, scores = zip(*self._unprobed, strict=True)
        return scores[-1] + slope(scores, numbers)

    def _commit(self, trial: _Trial, hyperparams: HyperparamSet, score: float) -> HyperparamSet:
        """Keep the trial value or turn round."""
        self._trial = None
        gradient = (score - trial.expected_score) / (trial.applied - trial.original)
        if gradient * trial.direction > 0:
            return hyperparams
        param = (self._space or {})[trial.name]
        return _with(hyperparams, trial.name, param.mirrored(trial.applied, around=trial.original))

    def _next_name(self, names: list[str]) -> str:
        if self._turn is None:
            self._turn = 0 if self._seed is None else int(np.random.default_rng(self._seed).integers(len(names)))
        name = names[self._turn % len(names)]
        self._turn += 1
        return name

    def state_dict(self) -> dict[str, Any]:
        """Return the phase, the trial, the scores and the scale."""
        return {
            "scale": self._scale,
            "turn": self._turn,
            "trial": vars(self._trial) if self._trial else None,
            "evaluations": self._evaluations,
            "unprobed": [list(pair) for pair in self._unprobed],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._scale = float(state["scale"])
        self._turn = state["turn"]
        self._trial = _Trial(**state["trial"]) if state["trial"] else None
        self._evaluations = int(state["evaluations"])
        self._unprobed = deque(((n, score) for n, score in state["unprobed"]), maxlen=_TREND_SCORES)


def _with(hyperparams: HyperparamSet, name: str, value: float) -> HyperparamSet:
    return HyperparamSet({**hyperparams.params, name: value}, hyperparams.episode_id)
