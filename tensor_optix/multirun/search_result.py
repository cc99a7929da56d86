"""What a search came to: `result.json`, and the settings of the best as a file for `train --config`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from tensor_optix.core.decisions.intervals import ScoreInterval, mean_interval
from tensor_optix.core.storage.atomic import replace_file, storage_errors
from tensor_optix.multirun.space import Values, run_of
from tensor_optix.multirun.study import SearchTrial
from tensor_optix.multirun.verdict import PRESET, Difference, Verdict, arms_best, common_steps, difference
from tensor_optix.runs import RunDescription
from tensor_optix.support.optional import require

BEST = "best.yaml"


class Interval(TypedDict):
    """A `ScoreInterval`."""

    low: float
    high: float
    level: float
    method: str
    episodes: int


class Ahead(TypedDict):
    """By how much one is ahead of the other, see `verdict.Difference`."""

    mean: float
    interval: Interval


class FinalistResult(TypedDict):
    """A trial that was trained with fresh seeds."""

    name: str
    drawn: str
    score: float
    scores: list[float]
    """Of each fresh seed."""
    ahead: Ahead | None
    """Of the preset; None for the preset."""
    values: Values


class RandomSearchResult(TypedDict):
    """The search against random search after equal steps."""

    search: str
    """The best trial of the search."""
    random: str
    """The best trial that was drawn at random."""
    steps: int
    ahead: Ahead
    """Of random search."""


class TrialResult(TypedDict):
    """A trial."""

    name: str
    drawn: str
    state: str
    score: float | None
    seeds: int
    """How many it was trained with."""
    steps: int
    values: Values


class SearchResult(TypedDict):
    """What a search came to, as `result.json` has it."""

    best: str
    is_preset: bool
    """True where no trial has beaten the preset."""
    values: Values
    """Of the best."""
    score: float
    interval: Interval
    finalists: list[FinalistResult]
    random: RandomSearchResult | None
    """None where one of both has no trial after equal steps."""
    steps: int
    counts: dict[str, int]
    """Of trials by state."""
    trials: list[TrialResult]


def result_of(trials: Sequence[SearchTrial], scores: Mapping[int, Sequence[float]], verdict: Verdict) -> SearchResult:
    """Return what a search came to, as JSON values.

    Args:
        trials: all of them.
        scores: of each finalist, by fresh seed.
        verdict: who is the best.
    """
    states = [one.state for one in trials]
    return {
        "best": name_of(verdict.best),
        "is_preset": verdict.best == PRESET,
        "values": dict(trials[verdict.best].values),
        "score": float(np.mean(scores[verdict.best])),
        "interval": _interval(mean_interval(scores[verdict.best])),
        "finalists": [_finalist(trials[number], scores[number], verdict.ahead.get(number)) for number in scores],
        "random": _random(trials, scores),
        "steps": sum(one.steps for one in trials),
        "counts": {state: states.count(state) for state in ("complete", "pruned", "failed")},
        "trials": [
            {
                "name": name_of(one.number),
                "drawn": one.drawn,
                "state": one.state,
                "score": one.value,
                "seeds": len(one.seeds),
                "steps": one.steps,
                "values": dict(one.values),
            }
            for one in trials
        ],
    }


def _finalist(trial: SearchTrial, scores: Sequence[float], ahead: Difference | None) -> FinalistResult:
    return {
        "name": name_of(trial.number),
        "drawn": trial.drawn,
        "score": float(np.mean(scores)),
        "scores": list(scores),
        "ahead": None if ahead is None else _ahead(ahead),
        "values": dict(trial.values),
    }


def _random(trials: Sequence[SearchTrial], scores: Mapping[int, Sequence[float]]) -> RandomSearchResult | None:
    """Return how the search compares with random search after equal steps; None where one of them has nothing."""
    best = arms_best(trials)
    search, random = best["search"], best["random"]
    if search is None or random is None or not {search, random} <= scores.keys():
        return None
    ahead = difference(scores[search], scores[random])
    steps = common_steps(trials)
    return {"search": name_of(search), "random": name_of(random), "steps": steps, "ahead": _ahead(ahead)}


def _ahead(found: Difference) -> Ahead:
    return {"mean": found.mean, "interval": _interval(found.interval)}


def _interval(of: ScoreInterval) -> Interval:
    return {"low": of.low, "high": of.high, "level": of.level, "method": of.method, "episodes": of.episodes}


def name_of(number: int) -> str:
    """Return the name of a trial."""
    return "preset" if number == PRESET else f"trial-{number}"


def write_settings(path: Path, run: RunDescription, values: Values) -> None:
    """Write settings as a file for `train --config`.

    Args:
        path: the file.
        run: what was searched around.
        values: of everything that was searched.

    Raises:
        MissingDependencyError: PyYAML is not installed; the message has the install line.
    """
    found = run_of(run, values)
    settings: dict[str, object] = {"env": found.env, "algorithm": found.algorithm, "framework": found.framework}
    settings |= {name: value for name in ("env_kwargs", "wrappers", "net_arch") if (value := getattr(found, name))}
    kept = ("n_envs", "window_size", "base_interval", "normalize_observations", "normalize_rewards", "val_episodes")
    settings |= {name: getattr(found, name) for name in kept}
    if found.hyperparams:
        settings[found.algorithm] = dict(found.hyperparams)
    text = require("yaml", "best.yaml", "tune").safe_dump(settings, sort_keys=False)
    with storage_errors("write", path):
        replace_file(path, text.encode())
