"""Two-phase finite difference, one hyper-parameter at a time, while the agent trains."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.decisions.trend import NOISE_SCORES, noise_of, rounding_of
from tensor_optix.core.search_space import Bounds, Param, SearchSpace
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.optimizers._evidence import (
    LONGEST_PROBE,
    Probe,
    ProbeBudget,
    ScoreRange,
    expected_score,
    probe_length,
    settles,
)
from tensor_optix.optimizers._signals import SignalWatch
from tensor_optix.support.arguments import check_seed, is_real
from tensor_optix.support.numbers import finite_or_zero
from tensor_optix.support.plain import SavedState, jsonable

_SHRINK, _GROW = 0.9, 1.3
_NOISE_STEPS = 8
"""From so many steps between scores their noise is estimated where it is not known."""


class BackoffOptimizer(BaseOptimizer):
    """Probes θ + δ for one evaluation or a few, then keeps it or turns round.

    Phase 1 (probe):  apply θᵢ + δᵢ until the next evaluation, s₊
    Phase 2 (commit): ĝᵢ = (s₊ − s₀)/δᵢ;  ĝᵢ > 0 keeps θᵢ + δᵢ, ĝᵢ < 0 applies θᵢ − δᵢ around the original θᵢ

    A learning agent's score rises by itself, so s₀ is the score *expected* at the probe's window: the last one plus the
    trend of those without a probe. δᵢ is the step really taken after clipping; at the upper bound the probe goes down
    instead. After each commit one evaluation passes without a probe, so that the next s₀ is not of one. Names take
    turns in the order of the bounds.

    What it does not do is to follow noise:
    - no difference, or one within two standard errors, is no gradient: θᵢ is as it was (decision "restored");
    - the noisier the scores, the more evaluations a probe takes, up to 8; there is none where those could not show an
      effect of a tenth of the range of the scores so far;
    - at most 15 % of the windows are collected under probe values; a probe that is kept by more than three standard
      errors gives back its windows and as many again;
    - where all episodes have the same return and so had the last ones, no probe can be judged, and there is none;
    - a parameter with a `Signal` is brought back as soon as its diagnostic is out of the healthy range
      ("corrected"), and a probe that drives it out is not kept. It is raised only while the policy is uncertain (its
      entropy is above a quarter of the highest so far) and its score below the best, or nothing is learned yet;
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
        self._in_force: Probe | None = None
        self._budget = ProbeBudget()
        self._evaluations = 0
        self._unprobed: deque[tuple[int, float]] = deque(maxlen=4 * LONGEST_PROBE)
        """(number of the evaluation, score) of those without a probe, newest last."""
        self._scores: deque[float] = deque(maxlen=NOISE_SCORES)
        """All of them, newest last, for their noise."""
        self._range = ScoreRange()
        self._signals = SignalWatch()
        self._return_to: dict[str, Any] | None = None
        self._decision = ""

    def bind(self, bounds: Bounds, hyperparams: HyperparamSet) -> None:
        """Take the agent's bounds where the user gave none."""
        space = SearchSpace(bounds) if self._space is None else self._space
        space.check_names(hyperparams.params)
        self._space = space.fitted(hyperparams.params)

    @property
    def search_space(self) -> SearchSpace | None:
        """What it may move; None before it is bound, if the user gave no bounds."""
        return self._space

    @property
    def is_probing(self) -> bool:
        """True while a probe is in force."""
        return self._in_force is not None

    @property
    def probed_param(self) -> str | None:
        """Name of the hyper-parameter that is probed."""
        return self._in_force.name if self._in_force else None

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
        self._space = self._space and self._space.fitted(hyperparams.params)  # no run may have bound it
        self._evaluations, self._decision, score = self._evaluations + 1, "", float(metrics.utility)
        cannot_judge = metrics.utility_std_err == 0.0 and bool(self._scores) and score == self._scores[-1]
        self._scores.append(score)
        self._range.include(score)
        self._signals.observe(self._tuned(), metrics.metrics)
        windows = self._budget.count(metrics.episode_id)
        if self._in_force is not None:
            self._budget.spent += windows
            self._in_force = replace(
                self._in_force, scores=(*self._in_force.scores, score), windows=self._in_force.windows + windows
            )
        return_to, self._return_to = self._return_to, None
        if return_to is not None and any(hyperparams.params[name] != value for name, value in return_to.items()):
            self._in_force, self._decision = None, "returned"
            return HyperparamSet({**hyperparams.params, **return_to}, hyperparams.episode_id)
        if self._in_force is not None:
            return self._commit(self._in_force, hyperparams, metrics)
        self._unprobed.append((self._evaluations, score))
        is_ceiling = cannot_judge and self._range.extent > 0.0 and score > (self._range.lowest or 0.0)
        corrected = None if is_ceiling else self._corrected(hyperparams, metrics)
        if corrected is not None:
            return corrected
        return hyperparams if cannot_judge else self._begin_probe(hyperparams, metrics, windows)

    def on_improvement(self, metrics: EvalMetrics) -> None:
        """Shrink the step: what is in force works."""
        self._scale = max(self._scale * _SHRINK, self._min_scale)

    def on_plateau(self, metrics: EvalMetrics) -> None:
        """Grow the step: look farther away."""
        self._scale = min(self._scale * _GROW, self._max_scale)

    def on_degradation(self, metrics: EvalMetrics, best: HyperparamSet) -> None:
        """Go back to what the best policy was found with."""
        self._return_to = {name: jsonable(best.params[name]) for name in self._tuned() if name in best.params}

    def on_new_learner(self) -> None:
        """Drop the probe and the scores, which are another agent's."""
        if self._in_force is not None:
            self._budget.spent += 1  # the window that diverged was collected under it
        self._in_force = self._return_to = None
        self._unprobed.clear()
        self._scores.clear()
        self._range = ScoreRange()
        self._signals = SignalWatch()

    def _corrected(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet | None:
        """Bring back what its signal says is far off; None where nothing is."""
        moved = dict(hyperparams.params)
        for name, param in (self._tuned()).items():
            factor = self._correction(param, metrics)
            if factor != 1.0:
                moved[name] = param.clip(moved[name] * factor)
        if moved == hyperparams.params:
            return None
        self._decision = "corrected"
        return HyperparamSet(moved, hyperparams.episode_id)

    def _tuned(self) -> Mapping[str, Param]:
        """Return the space; empty before the optimizer is bound."""
        return {} if self._space is None else self._space

    def _correction(self, param: Param, metrics: EvalMetrics) -> float:
        """Return the factor that the parameter's signal asks for, 1 for none."""
        signal = param.signal
        return 1.0 if signal is None else self._signals.correction(signal, metrics, self._range, self._error(metrics))

    def _begin_probe(self, hyperparams: HyperparamSet, metrics: EvalMetrics, windows: int) -> HyperparamSet:
        """Begin to probe the next hyper-parameter, if it can be judged and the budget allows it."""
        space, error = self._tuned(), self._error(metrics)
        # Nothing is known of the range at first; one short probe cannot cost much.
        length = 1 if self._evaluations <= 1 else probe_length(error, self._range.extent)
        if length is None or not self._budget.allows(length * windows):
            return hyperparams
        for _ in range(len(space)):
            name = self._next_name(list(space))
            param, value = space[name], hyperparams.params[name]
            for direction in (1, -1):
                applied = param.perturb(value, scale=self._scale, min_delta=self._min_delta, direction=direction)
                if applied != value and (applied > value) == (direction > 0):
                    self._in_force = Probe(name, cast(float, jsonable(value)), applied, direction, error, length)
                    self._decision = "trial"
                    return _with(hyperparams, name, applied)
        return hyperparams

    def _error(self, metrics: EvalMetrics) -> float:
        """Return the standard error of a score, 0 where nothing is known of it."""
        known = finite_or_zero(metrics.utility_std_err)
        seen = float(noise_of(np.array(self._scores))) if len(self._scores) > _NOISE_STEPS else 0.0
        return max(known, seen)

    def _commit(self, probe: Probe, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        """Keep the probe value, turn round, or leave it at the original where the scores cannot tell."""
        param, seen = (self._tuned())[probe.name], len(probe.scores)
        score = math.fsum(probe.scores) / seen
        expected, weight = expected_score(list(self._unprobed), probe.length, self._evaluations - (seen - 1) / 2.0)
        gain = score - expected
        error = math.hypot(weight * probe.std_err, self._error(metrics) / math.sqrt(seen))
        is_over = seen >= probe.length
        is_evident = settles(gain, error, is_over) and abs(gain) > rounding_of(score, expected, self._range.extent)
        drives_out = (self._correction(param, metrics) - 1.0) * (probe.applied - probe.original) < 0.0
        if not (is_over or is_evident or drives_out):
            self._decision = "trial"
            return hyperparams
        self._in_force = None
        if not is_evident or (gain > 0.0 and drives_out):
            self._decision = "restored"
            return _with(hyperparams, probe.name, param.clip(probe.original))
        gradient = gain / (probe.applied - probe.original)
        if gradient * probe.direction > 0:
            if settles(gain, error, is_over=False):  # what is kept by luck does not pay
                self._budget.earn(probe.windows)
            self._decision = "kept"
            return hyperparams
        self._decision = "reversed"
        return _with(hyperparams, probe.name, param.mirrored(probe.applied, around=probe.original))

    def _next_name(self, names: list[str]) -> str:
        if self._turn is None:
            self._turn = 0 if self._seed is None else int(np.random.default_rng(self._seed).integers(len(names)))
        name = names[self._turn % len(names)]
        self._turn += 1
        return name

    def state_dict(self) -> dict[str, object]:
        """Return the phase, the probe, its budget, the scores and the scale."""
        return {
            "scale": self._scale,
            "turn": self._turn,
            "trial": {**vars(self._in_force), "scores": list(self._in_force.scores)} if self._in_force else None,
            "evaluations": self._evaluations,
            "unprobed": [list(pair) for pair in self._unprobed],
            "scores": list(self._scores),
            "return_to": self._return_to,
            "budget": dict(vars(self._budget)),
            "range": dict(vars(self._range)),
            "most_uncertain": self._signals.state_dict(),
        }

    def load_state_dict(self, state: SavedState) -> None:
        """Go on from `state_dict`."""
        self._scale = float(state["scale"])
        self._turn = state["turn"]
        self._in_force = Probe.from_dict(state["trial"]) if state["trial"] else None
        self._evaluations = int(state["evaluations"])
        self._unprobed = deque(((n, score) for n, score in state["unprobed"]), maxlen=4 * LONGEST_PROBE)
        self._scores = deque(state["scores"], maxlen=NOISE_SCORES)
        self._return_to = state["return_to"]
        self._budget = ProbeBudget.from_dict(state["budget"])
        self._range = ScoreRange(**state["range"])
        self._signals = SignalWatch(state["most_uncertain"])


def _with(hyperparams: HyperparamSet, name: str, value: float) -> HyperparamSet:
    return HyperparamSet({**hyperparams.params, name: value}, hyperparams.episode_id)
