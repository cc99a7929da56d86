"""Two-phase finite difference, one hyper-parameter at a time, while the agent trains."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.decisions.trend import NOISE_SCORES, noise_of, slope
from tensor_optix.core.search_space import Bounds, SearchSpace
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import check_seed, is_real
from tensor_optix.support.plain import jsonable

_TREND_SCORES = 5
_SHRINK, _GROW = 0.9, 1.3
_EVIDENCE_ERRORS = 2.0
"""A trial is settled by its score if that differs from the expected one by this many standard errors."""
_NOISE_STEPS = 8
"""From so many steps between scores their noise is estimated where it is not known."""
_MAX_CORRECTION = 4.0
"""Largest factor of one correction."""


@dataclass(frozen=True)
class _Trial:
    """A value in force on probation."""

    name: str
    original: float
    applied: float
    direction: int
    expected_score: float
    std_err: float
    """Standard error of the score that it was begun on; 0 where nothing is known."""


class BackoffOptimizer(BaseOptimizer):
    """Probes θ + δ for one evaluated window, then keeps it or turns round.

    Phase 1 (probe):  apply θᵢ + δᵢ, live to the next evaluation, s₊
    Phase 2 (commit): ĝᵢ = (s₊ − s₀)/δᵢ;  ĝᵢ > 0 keeps θᵢ + δᵢ, ĝᵢ ≤ 0 applies θᵢ − δᵢ around the original θᵢ

    A learning agent's score rises by itself, so s₀ is the score *expected* at the probe's window: the last one plus the
    trend of those without a probe. δᵢ is the step really taken after clipping; at the upper bound the probe goes down
    instead. After each commit one evaluation passes without a probe, so that the next s₀ is not of a trial. Names take
    turns in the order of the bounds.

    What it does not do is to follow noise:
    - a difference within two standard errors of the scores is no gradient: θᵢ is as it was (decision "restored");
    - where every episode came to the same and so did the last ones, no trial can be judged, and there is none;
    - a parameter with a `Signal` is brought back as soon as its diagnostic is out of the healthy range
      ("corrected"), and a trial that drives it out is not kept;
    - when the score has degraded, the values of the best policy are back in force ("returned").

    Args:
        param_bounds: what to tune, `Param` or `(low, high)` by name; None takes the agent's `default_param_bounds`.
        perturbation_scale: δ as a share of |θ| at the start (on a log scale: the factor is 1 + scale).
        min_delta: smallest δ on a linear scale, in the parameter's own units.
        min_scale: where the shrinking on improvement ends.
        max_scale: where the growing on a plateau ends.
        seed: which hyper-parameter has the first turn; None starts with the first.

    Raises:
        InvalidArgumentError: scales out of order, not positive or not finite, or a negative seed.
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
        for name, value in (
            ("perturbation_scale", perturbation_scale),
            ("min_delta", min_delta),
            ("min_scale", min_scale),
            ("max_scale", max_scale),
        ):
            if not is_real(value):
                raise InvalidArgumentError(f"{name} must be a finite number, but got {value!r}.")
        check_seed(seed)
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
        self._scores: deque[float] = deque(maxlen=NOISE_SCORES)
        """All of them, newest last, for their noise."""
        self._return_to: dict[str, Any] | None = None
        self._decision = ""

    def bind(self, bounds: Bounds, hyperparams: HyperparamSet) -> None:
        """Take the agent's bounds where the user gave none."""
        if self._space is None:
            self._space = SearchSpace(bounds)
        self._space.check_names(hyperparams.params)

    @property
    def search_space(self) -> SearchSpace | None:
        """What it may move; None before it is bound, if the user gave no bounds."""
        return self._space

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

    @property
    def decision(self) -> str:
        """What the last `suggest` decided."""
        return self._decision

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        """Return the values for the windows up to the next evaluation."""
        self._evaluations += 1
        score = float(metrics.primary_score)
        cannot_judge = metrics.std_err == 0.0 and bool(self._scores) and score == self._scores[-1]
        self._scores.append(score)
        return_to, self._return_to = self._return_to, None
        if return_to is not None and any(hyperparams.params[name] != value for name, value in return_to.items()):
            self._trial, self._decision = None, "returned"
            return HyperparamSet({**hyperparams.params, **return_to}, hyperparams.episode_id)
        if self._trial is not None:
            return self._commit(self._trial, hyperparams, metrics)
        self._unprobed.append((self._evaluations, score))
        is_ceiling = cannot_judge and score > min(self._scores)
        corrected = None if is_ceiling else self._corrected(hyperparams, metrics)
        if corrected is not None:
            return corrected
        return hyperparams if cannot_judge else self._probe(hyperparams, metrics)

    def on_improvement(self, metrics: EvalMetrics) -> None:
        """Shrink the step: what is in force works."""
        self._scale = max(self._scale * _SHRINK, self._min_scale)

    def on_plateau(self, metrics: EvalMetrics) -> None:
        """Grow the step: look farther away."""
        self._scale = min(self._scale * _GROW, self._max_scale)

    def on_degradation(self, metrics: EvalMetrics, best: HyperparamSet) -> None:
        """Go back to what the best policy was found with."""
        self._return_to = {name: jsonable(best.params[name]) for name in self._space or () if name in best.params}

    def on_new_learner(self) -> None:
        """Drop the trial and the scores, which are another agent's."""
        self._trial = self._return_to = None
        self._unprobed.clear()
        self._scores.clear()

    def _corrected(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet | None:
        """Bring back what its signal says is far off; None where nothing is."""
        moved = dict(hyperparams.params)
        for name, param in (self._space or {}).items():
            factor = param.signal.correction(metrics.metrics) if param.signal is not None else 1.0
            factor = min(max(factor, 1.0 / _MAX_CORRECTION), _MAX_CORRECTION)
            if factor != 1.0:
                moved[name] = param.clip(moved[name] * factor)
        if moved == hyperparams.params:
            return None
        self._decision = "corrected"
        return HyperparamSet(moved, hyperparams.episode_id)

    def _probe(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        """Put the next hyper-parameter on trial."""
        space = self._space or {}
        for _ in range(len(space)):
            name = self._next_name(list(space))
            param, value = space[name], hyperparams.params[name]
            for direction in (1, -1):
                applied = param.perturb(value, scale=self._scale, min_delta=self._min_delta, direction=direction)
                if applied != value and (applied > value) == (direction > 0):
                    expected, error = self._expected_score(), self._error(metrics)
                    self._trial = _Trial(name, jsonable(value), applied, direction, expected, error)
                    self._decision = "trial"
                    return _with(hyperparams, name, applied)
        return hyperparams

    def _expected_score(self) -> float:
        """Return s₀, the score that the next evaluation would have without a probe."""
        numbers, scores = zip(*self._unprobed, strict=True)
        return scores[-1] + slope(scores, numbers)

    def _error(self, metrics: EvalMetrics) -> float:
        """Return the standard error of a score, 0 where nothing is known of it."""
        known = metrics.std_err if math.isfinite(metrics.std_err) else 0.0
        seen = float(noise_of(np.array(self._scores))) if len(self._scores) > _NOISE_STEPS else 0.0
        return max(known, seen)

    def _commit(self, trial: _Trial, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        """Keep the trial value, turn round, or leave it at the original where the scores cannot tell."""
        self._trial = None
        param = (self._space or {})[trial.name]
        gain = float(metrics.primary_score) - trial.expected_score
        error = math.hypot(trial.std_err, self._error(metrics))
        correction = param.signal.correction(metrics.metrics) if param.signal is not None else 1.0
        drives_out = (correction - 1.0) * (trial.applied - trial.original) < 0.0
        if abs(gain) < _EVIDENCE_ERRORS * error or (gain > 0.0 and drives_out):
            self._decision = "restored"
            return _with(hyperparams, trial.name, param.clip(trial.original))
        gradient = gain / (trial.applied - trial.original)
        if gradient * trial.direction > 0:
            self._decision = "kept"
            return hyperparams
        self._decision = "reversed"
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
            "scores": list(self._scores),
            "return_to": self._return_to,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._scale = float(state["scale"])
        self._turn = state["turn"]
        self._trial = _Trial(**state["trial"]) if state["trial"] else None
        self._evaluations = int(state["evaluations"])
        self._unprobed = deque(((n, score) for n, score in state["unprobed"]), maxlen=_TREND_SCORES)
        self._scores = deque(state["scores"], maxlen=NOISE_SCORES)
        self._return_to = state["return_to"]


def _with(hyperparams: HyperparamSet, name: str, value: float) -> HyperparamSet:
    return HyperparamSet({**hyperparams.params, name: value}, hyperparams.episode_id)
