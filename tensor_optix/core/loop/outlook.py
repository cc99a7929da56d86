"""How far away the end of a run is on a plateau, by the loop's own `decide`."""

import math
from dataclasses import replace

from tensor_optix.core.loop.decider import decide, patience_with
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.types import HyperparamSet, LoopState

MOST_EVALUATIONS = 64
"""Evaluations ahead that are looked at one by one; the rest is counted, as after `NOISE_SCORES` no verdict changes."""


def windows_to_end(state: RunState, config: LoopConfig) -> int:
    """Return in how many windows the loop is DORMANT if the scores stay where they are.

    Every evaluation to come is the last one, with the mean of the newest `plateau_threshold` scores.

    Args:
        state: where the run stands, after a usable evaluation.
        config: the knobs of the loop.
    """
    newest = state.recent[-config.scheduler.plateau_threshold :]
    level = math.fsum(metrics.primary_score for metrics in newest) / len(newest)
    metrics, begun = replace(newest[-1], primary_score=level), state.window_id
    per_window, episodes = state.steps_per_window, state.episodes / (state.window_id + 1)
    for _ in range(MOST_EVALUATIONS):
        if state.position.state is LoopState.DORMANT:
            return state.window_id - begun
        windows = state.position.interval
        state = state.changed(
            window_id=state.window_id + windows,
            env_steps=state.env_steps + windows * per_window,
            episodes=state.episodes + round(windows * episodes),
        )
        seen = replace(metrics, episode_id=state.window_id)
        state, _ = decide(state, Outcome(hyperparams=HyperparamSet({}), metrics=seen), config)
    return state.window_id - begun + _windows_left(state, config)


def _windows_left(state: RunState, config: LoopConfig) -> int:
    position, patience = state.position, patience_with(state, config)
    if not config.patience.is_scaled:
        return (config.scheduler.dormant_threshold - position.no_improvement) * position.interval
    by_steps = math.ceil(patience.remaining_steps / state.steps_per_window)
    return max(by_steps, patience.remaining_evaluations * position.interval)


def outlook(state: RunState, config: LoopConfig) -> str:
    """Return how far the end is, and which argument brings it nearer where it is far; in one to three sentences.

    Args:
        state: where the run stands, on its first plateau.
        config: the knobs of the loop.
    """
    windows = windows_to_end(state, config)
    text = (
        f"The scores have not improved for {state.position.no_improvement} evaluations (COOLING, window "
        f"{state.window_id}). If that goes on, training ends in about {windows:,} windows "
        f"({windows * state.steps_per_window:,} steps)."
    )
    cap = config.scheduler.base_interval
    if cap == config.scheduler.max_interval:
        return text
    scheduler, patience = replace(config.scheduler, max_interval=cap), replace(config.patience, is_scaled=False)
    nearer = windows_to_end(state, replace(config, scheduler=scheduler, patience=patience))
    if nearer >= windows:
        return text
    return f"{text} max_interval_episodes={cap} would end it in about {nearer:,}."
