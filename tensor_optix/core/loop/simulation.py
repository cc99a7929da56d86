"""What the loop would decide on scores that somebody already has: its own `decide`, without training anything."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np

from tensor_optix.core.backoff_scheduler import Effect
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.decisions.patience_verdict import PatienceVerdict
from tensor_optix.core.decisions.preference import beats
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.loop.decider import decide, patience_with
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PolicySnapshot
from tensor_optix.errors import InvalidArgumentError

Values: TypeAlias = Sequence[float] | np.ndarray
_NO_VALUES = HyperparamSet({})


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided on one evaluation."""

    index: int
    """Which of the scores it was."""
    steps: int
    """Environment steps until then."""
    score: float
    verdict: Verdict
    state: LoopState
    """State of the loop after the decision; DORMANT = it would have stopped here."""
    no_improvement: int
    """Evaluations in a row without an improvement."""
    is_best: bool
    """True if the policy would have been saved as the new best."""
    patience: PatienceVerdict
    """How far the patience was used up; `str` gives the sentence."""


def simulate(
    scores: Values,
    std_errs: Values | None,
    steps: Values,
    config: LoopConfig | None = None,
    *,
    episodes: Values | None = None,
    lower_is_better: bool = False,
) -> list[Decision]:
    """Return what the loop would have decided on E windows whose scores are known, until it would have stopped.

        decisions = simulate(scores, std_errs, steps)
        stop_step = decisions[-1].steps if decisions[-1].state is LoopState.DORMANT else None

    Windows in which the loop would not have evaluated are passed over, so there may be fewer decisions than scores.
    A score that beats the best becomes the best, as where no validation tests it again.

    Args:
        scores: (E,) score of each window. One that is not finite is no evidence.
        std_errs: (E,) their standard errors; NaN, or None for all of them, = unknown.
        steps: (E,) environment steps of training at the end of each window, increasing.
        config: the knobs of the loop; None = those of `RLOptimizer` by default, with a patience that grows with the
            scale of the task.
        episodes: (E,) training episodes that had ended by then; None = unknown, and no plateau is certain.
        lower_is_better: True for scores such as losses, as where an evaluator's `compare` prefers the lower one.

    Raises:
        InvalidArgumentError: sequences of different lengths or of no numbers, steps that do not increase, episodes that
            decrease, or errors below 0.
    """
    config = config if config is not None else LoopConfig(patience=Patience())
    if not isinstance(cast(object, config), LoopConfig):
        raise InvalidArgumentError(f"config must be a LoopConfig, but got {config!r}.")
    scores = _numbers("scores", scores)
    errors = np.full(len(scores), math.nan) if std_errs is None else _numbers("std_errs", std_errs)
    steps = _numbers("steps", steps)
    counts = np.zeros(len(scores)) if episodes is None else _numbers("episodes", episodes)
    _check(scores, errors, steps, counts)
    state, decisions = RunState(position=config.scheduler.initial()), list[Decision]()
    for index, (score, error, step, count) in enumerate(zip(scores, errors, steps, counts, strict=True)):
        best = state.best.eval_metrics if state.best else None
        if config.spent(index, state.env_steps) is not None or config.reaches_target(best):
            break
        state = state.collected(int(step) - state.env_steps, int(count) - state.episodes)
        if not state.is_due:
            continue
        known = {"score_std_err": float(error)}
        metrics = EvalMetrics(float(score), known, state.window_id, lower_is_better=lower_is_better)
        is_best = beats(None, metrics, state.best_metrics, config.improvement_margin)
        state, effects = decide(state, Outcome(hyperparams=_NO_VALUES, metrics=metrics, is_best=is_best), config)
        if is_best:
            state = replace(state, best=_snapshot(metrics, index))
        decisions.append(_decision(state, index, metrics, config, is_best=is_best))
        if Effect.DORMANT in effects:
            break
    return decisions


def _decision(state: RunState, index: int, metrics: EvalMetrics, config: LoopConfig, *, is_best: bool) -> Decision:
    return Decision(
        index=index,
        steps=state.env_steps,
        score=metrics.primary_score,
        verdict=state.verdict,
        state=state.position.state,
        no_improvement=state.position.no_improvement,
        is_best=is_best,
        patience=patience_with(state, config),
    )


def _snapshot(metrics: EvalMetrics, index: int) -> PolicySnapshot:
    return PolicySnapshot(
        snapshot_id=f"{index:06d}",
        sequence=index,
        window_id=metrics.episode_id,
        eval_metrics=metrics,
        hyperparams=_NO_VALUES,
        created_at="",
    )


def _numbers(name: str, values: object) -> np.ndarray:
    """Return values as (E,) numbers; None among them is not known: NaN."""
    try:
        array = np.asarray(list(cast(Iterable[object], values)), np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name} must be a sequence of numbers, but got {values!r:.200}.") from error
    if array.ndim != 1:
        raise InvalidArgumentError(f"{name} must be one number per window, but has the shape {array.shape}.")
    return array


def _check(scores: np.ndarray, errors: np.ndarray, steps: np.ndarray, counts: np.ndarray) -> None:
    lengths = {"scores": len(scores), "std_errs": len(errors), "steps": len(steps), "episodes": len(counts)}
    if len(set(lengths.values())) > 1:
        raise InvalidArgumentError(f"scores, std_errs, steps and episodes must have one length, but got {lengths}.")
    totals = np.trunc(steps)
    _check_each("steps", steps, np.isfinite(steps) & (np.diff(totals, prepend=0.0) > 0.0), "increase from above 0")
    _check_each("episodes", counts, np.isfinite(counts) & (np.diff(counts, prepend=0.0) >= 0.0), "not decrease from 0")
    if (below := np.flatnonzero(errors < 0.0)).size:
        raise InvalidArgumentError(
            f"std_errs must be at least 0, or NaN where they are unknown, but std_errs[{below[0]}] is "
            f"{errors[below[0]]:g}."
        )


def _check_each(name: str, values: np.ndarray, is_right: np.ndarray, rule: str) -> None:
    """Refuse totals of the run of which some are not right."""
    wrong = np.flatnonzero(~is_right)
    if wrong.size:
        index = int(wrong[0])
        before = values[index - 1] if index else 0.0
        raise InvalidArgumentError(
            f"{name} must {rule}, but {name}[{index}] is {values[index]:.15g} after {before:.15g}. Pass the total of "
            f"the run at each window."
        )
