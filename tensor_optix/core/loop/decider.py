"""The decision on a window: one pure function from the state and what the window came to.

| what the window came to | verdict | event of the state machine | what the controller does |
|---|---|---|---|
| a fault | as before | none | FAULT |
| nothing that was evaluated, or validation is pending | as before | none | nothing |
| no usable score | NO_EVIDENCE | NO_EVIDENCE | MISSING |
| a score, while learning | `judge` | the verdict's | `effects` of the move, TUNE |
| FLAT or DEGRADED, `dormant_threshold` reached, patience with the curve left | as judged | WAITING | as above |
| no new height, patience with the curve used up | as judged | FLAT or DEGRADED, for the last time | as above |
| a score, and every episode so far gave the same | as judged | the verdict's | `effects` of the move |
| a score in an escape | `judge`, by the escape's own scores | the verdict's; FLAT at the end of its share | as above |
| on watch: drift, or a validated score judged DEGRADED | DEGRADED | DEGRADED | WAKE, `effects` of the move, TUNE |
| on watch: a trial has ended | FLAT | FLAT | SETTLE |
| on watch: any other score | FLAT | FLAT | nothing |
| any of them, where the incumbent was tested too | | | RESCORE first |
| any of them, where episodes were longer than those that were cut before | | | BEGIN_ERA before that |
| a score on seeded episodes, and `decisions.reserve` is due | | | RESERVE first |

`judge` is in `decisions.trend`, the patience in `decisions.patience`; the moves and their `effects` are the table of
`backoff_scheduler`. The interval of the new state says when the next window is due, at the latest where the patience
runs out (but never before `base_interval` windows); without evidence it is the next one. On a flat start nothing is
tuned: no value can be told from another.
"""

import enum
import math
from dataclasses import replace
from typing import TypeAlias

from tensor_optix.core.backoff_scheduler import BackoffScheduler, Effect, Event, SchedulerState, effects
from tensor_optix.core.decisions.escape_records import EscapeRecord, other_algorithm, windows_left
from tensor_optix.core.decisions.patience import MOST_STRETCH, assess
from tensor_optix.core.decisions.patience_verdict import PatienceVerdict, windows_until_due
from tensor_optix.core.decisions.policy_change import has_stopped_changing
from tensor_optix.core.decisions.reserve import is_due, observed
from tensor_optix.core.decisions.trend import MOST_EVALUATIONS, Verdict, all_alike, judge
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState, WatchState
from tensor_optix.core.types import EvalMetrics, LoopState

ENOUGH_EVIDENCE = 10
"""Windows of episodes from which the best policy's score tells whether the target is reached."""
DEGRADATION_EVENT, DRIFT_EVENT, LONGER_EVENT = "degradation", "drift", "longer episodes"


class Act(enum.Enum):
    """What the controller has to do beside the effects of the state machine."""

    FAULT = "fault"
    """Record and count it; go back to the last good state, or end the run."""
    MISSING = "missing"
    """Say what is missing where no score could be decided on."""
    RESERVE = "reserve"
    """Save the policy as an alternative for the last test."""
    BEGIN_ERA = "begin an era"
    """Rank no score of episodes that were cut sooner, and compare with none; see `cut_episodes`."""
    RESCORE = "rescore"
    """Save what the incumbent has shown by now; the first of the ranking is the best then."""
    WAKE = "wake"
    """Begin an era, in which the champion is scored anew and learning goes on from it."""
    SETTLE = "settle"
    """Let the winner of the trial be the champion."""
    TUNE = "tune"
    """Ask the optimizer for the next values."""


Effects: TypeAlias = tuple[Effect | Act, ...]


def decide(state: RunState, outcome: Outcome, config: LoopConfig) -> tuple[RunState, Effects]:
    """Return the state after a window and what is to be done, in order; see the module's table.

    Args:
        state: where the run stands, with the window in hand counted.
        outcome: what the window came to.
        config: the knobs of the loop.
    """
    if outcome.watch is not None:
        state = state.changed(watch=outcome.watch)
    state = state.changed(test_steps=state.test_steps + outcome.test_steps)
    if outcome.is_best or outcome.incumbent is not None:
        state = state.changed(best_tested_in=state.window_id)
    if outcome.fault is not None:
        return state, (Act.FAULT,)
    if not state.is_on_watch:
        state = state.changed(last_good=outcome.hyperparams)
    metrics = outcome.metrics
    state = state.changed(pending=outcome.pending)
    if metrics is None:
        return state, ()
    state, first = _before_comparing(state, outcome)
    verdict = _verdict(state, outcome, metrics, config)
    state = state.changed(evaluations=state.evaluations + 1, verdict=verdict, event=_event(state, outcome, verdict))
    if verdict is Verdict.NO_EVIDENCE:
        missing = _without_evidence(state, config)
        ends = effects(state.position, missing.position, verdict, is_best=False)
        return missing, (*first, *_settled(outcome), Act.MISSING, *ends)
    acts: Effects = (*first, *_settled(outcome))
    if not state.is_on_watch:
        state = state.scored(metrics).changed(reserve=observed(state.reserve, metrics.utility))
        acts = (*acts, *_reserved(state, outcome, config))
    elif verdict is Verdict.DEGRADED:
        state, acts = _woken(state), (*acts, Act.WAKE)
    is_flat = state.is_flat_start and all_alike([*state.recent, metrics])
    is_new_height = metrics.utility > max((known.utility for known in state.recent), default=-math.inf)
    position = _moved(state, Event(verdict.value), config, is_new_height=is_new_height)
    acts = (*acts, *effects(state.position, position, verdict, is_best=outcome.is_best))
    state = state.changed(
        position=position,
        metrics=metrics,
        without_evidence=0,
        recent=(*state.recent, metrics)[-MOST_EVALUATIONS:],
        next_evaluation=state.window_id + position.interval,
        is_flat_start=is_flat,
    )
    return state, acts if is_flat else (*acts, Act.TUNE)


def _before_comparing(state: RunState, outcome: Outcome) -> tuple[RunState, Effects]:
    """Return the state that scores are compared in, and what is to be done first: what is known of the best is."""
    acts: Effects = (Act.RESCORE,) if outcome.incumbent is not None else ()
    if outcome.gain_of_length is not None:
        state, acts = state.with_longer_episodes(outcome.gain_of_length), (Act.BEGIN_ERA, *acts)
    return state.changed(cut_at=max(state.cut_at, outcome.cut_at)), acts


def patience_with(state: RunState, config: LoopConfig) -> PatienceVerdict:
    """Return how far the patience with the present learner is used up."""
    threshold, is_put_off = config.patience.dormant_threshold, state.validation.put_off > 0
    return assess(
        state.curve,
        config.patience,
        state.position.no_improvement,
        is_settled=has_stopped_changing(
            state.recent, min(math.ceil(threshold / (MOST_STRETCH if is_put_off else 1.0)), MOST_EVALUATIONS)
        ),
        has_learned=config.is_pretrained or state.goes_on_from_trained,
        has_reached=has_reached(state, config),
        evaluation_steps=scheduler_of(state, config).base_interval * state.steps_per_window if is_put_off else None,
    )


def waits_for_evaluation(state: RunState, config: LoopConfig) -> bool:
    """Return whether the end of a run waits for evaluations: one stands for `MOST_STRETCH` that were due.

    It does where the best has reached a known target, and on a plateau that is certain or quiet for long enough.

    Args:
        state: where the run stands, with the window in hand counted.
        config: the knobs of the loop.
    """
    if state.metrics is None or state.escape is not None or not config.patience.is_scaled:
        return False
    since = state.window_id - state.metrics.episode_id
    if since < MOST_STRETCH * scheduler_of(state, config).base_interval:
        return False
    return config.is_reached(state.best_score) or patience_with(state, config).waits_for_evaluations


def scheduler_of(state: RunState, config: LoopConfig) -> BackoffScheduler:
    """Return the knobs of the state machine: with windows of another algorithm, evaluations are as many steps apart."""
    scheduler, other = config.scheduler, other_algorithm(state.escapes)
    if other is None or other.stretch == 1.0:
        return scheduler
    base = max(1, round(scheduler.base_interval / other.stretch))
    return replace(scheduler, base_interval=base, max_interval=max(base, round(scheduler.max_interval / other.stretch)))


def has_reached(state: RunState, config: LoopConfig) -> bool:
    """Return whether the best policy has reached the target, where one is known, in many episodes of its own."""
    best = state.best
    return best is not None and len(best.evidence) >= ENOUGH_EVIDENCE and config.is_reached(state.best_score)


def _moved(state: RunState, event: Event, config: LoopConfig, *, is_new_height: bool = False) -> SchedulerState:
    """Return where the state machine moves to, with an interval that does not pass the end of the patience."""
    scheduler, old = scheduler_of(state, config), state.position
    if state.escape is not None:
        return _moved_in_escape(state, state.escape, scheduler, event)
    if not config.patience.is_scaled:
        return scheduler.transition(old, event)
    patience = patience_with(state, config)
    is_learning = old.state in (LoopState.ACTIVE, LoopState.COOLING)
    if is_learning and patience.is_exhausted and not is_new_height:
        # The curve dates a rise more exactly than the trend, whose means still rise where single scores do no longer.
        event = Event.FLAT if event is Event.IMPROVED else event
        old = replace(old, no_improvement=max(old.no_improvement, scheduler.dormant_threshold - 1))
    elif (
        is_learning and event in (Event.FLAT, Event.DEGRADED) and old.no_improvement + 1 >= scheduler.dormant_threshold
    ):
        event = Event.WAITING
    new = scheduler.transition(old, event)
    if new.state is not LoopState.COOLING:
        return new
    due = windows_until_due(patience, state.curve.steps, new.interval, state.steps_per_window)
    return replace(new, interval=min(new.interval, max(due, scheduler.base_interval)))


def _moved_in_escape(
    state: RunState, escape: EscapeRecord, scheduler: BackoffScheduler, event: Event
) -> SchedulerState:
    """Return where the state machine moves to in an escape, which has the plain patience and a share of the steps.

    The evaluations that the threshold still asks for are spread over the windows that are left.
    """
    left = windows_left(escape, state.env_steps, state.steps_per_window)
    if left < scheduler.base_interval:
        return spent(state.position, scheduler)
    new = scheduler.transition(state.position, event)
    due = left // max(1, scheduler.dormant_threshold - new.no_improvement)
    return replace(new, interval=min(new.interval, max(due, scheduler.base_interval)))


def spent(position: SchedulerState, scheduler: BackoffScheduler) -> SchedulerState:
    """Return where the state machine is once the patience is used up."""
    return scheduler.transition(replace(position, no_improvement=scheduler.dormant_threshold - 1), Event.FLAT)


def _verdict(state: RunState, outcome: Outcome, metrics: EvalMetrics, config: LoopConfig) -> Verdict:
    if not metrics.is_usable and outcome.event != DRIFT_EVENT:
        return Verdict.NO_EVIDENCE
    if not state.is_on_watch:
        return _judged(state, outcome, metrics, config)
    if outcome.event is not None:
        return Verdict.DEGRADED if outcome.event == DRIFT_EVENT else Verdict.FLAT
    # Without validation a single window says little: that is what the detector is for. What does not learn has not
    # improved, whatever its score.
    judged = _judged(state, outcome, metrics, config) if outcome.is_validated else Verdict.FLAT
    return judged if judged is Verdict.DEGRADED else Verdict.FLAT


def _judged(state: RunState, outcome: Outcome, metrics: EvalMetrics, config: LoopConfig) -> Verdict:
    best = outcome.incumbent.metrics if outcome.incumbent is not None else state.best_metrics
    if outcome.gain_of_length is not None and outcome.incumbent is None:
        best = None  # nothing is known of it in longer episodes
    if state.escape is not None and state.escape.is_other_algorithm:
        best = None  # what begins anew has lost nothing
    return judge(
        metrics,
        best.utility if best is not None else None,
        state.compared,
        best_std_err=best.utility_std_err if best is not None else 0.0,
        patience=config.scheduler.dormant_threshold,
        improvement_margin=config.improvement_margin,
        degradation_threshold=config.degradation_threshold,
        min_degradation_drop=config.min_degradation_drop,
        is_probing=outcome.is_probing,
    )


def _event(state: RunState, outcome: Outcome, verdict: Verdict) -> str | None:
    if outcome.event is None and state.is_on_watch and verdict is Verdict.DEGRADED:
        return DEGRADATION_EVENT
    if outcome.gain_of_length is not None:
        return LONGER_EVENT
    return outcome.event


def _reserved(state: RunState, outcome: Outcome, config: LoopConfig) -> Effects:
    """Return whether the policy is kept for the last test; the best is kept anyway."""
    is_wanted = config.final_evaluation and outcome.is_repeatable and not outcome.is_best
    return (Act.RESERVE,) if is_wanted and is_due(state.reserve, state.env_steps) else ()


def _settled(outcome: Outcome) -> Effects:
    return () if outcome.is_promoted is None else (Act.SETTLE,)


def _without_evidence(state: RunState, config: LoopConfig) -> RunState:
    position = state.position if state.escape is None else _moved(state, Event.NO_EVIDENCE, config)
    return state.changed(
        position=position,
        without_evidence=state.without_evidence + 1,
        next_evaluation=state.window_id + 1,
    )


def _woken(state: RunState) -> RunState:
    """Return the state of a new era: earlier scores are those of a world that is gone."""
    watch = WatchState(champion=state.watch.champion)
    woken = state.with_new_curve().changed(recent=(), reserve=(), era_began=state.window_id, watch=watch)
    return woken.changed(has_drifted=True, cut_at=0)
