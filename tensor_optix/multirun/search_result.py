"""What a search came to: `result.json`, and the settings of the best as a file for `train --config`."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.storage.atomic import replace_file, storage_errors
from tensor_optix.multirun.space import Values, run_of
from tensor_optix.multirun.study import SearchTrial
from tensor_optix.multirun.verdict import PRESET, Difference, Verdict, arms_best, common_steps, difference
from tensor_optix.runs import RunDescription
from tensor_optix.support.optional import require

BEST = "best.yaml"


def result_of(trials: Sequence[SearchTrial], scores: Mapping[int, Sequence[float]], verdict: Verdict) -> dict[str, Any]:
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
        "interval": dataclasses.asdict(mean_interval(scores[verdict.best])),
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


def _finalist(trial: SearchTrial, scores: Sequence[float], ahead: Difference | None) -> dict[str, Any]:
    return {
        "name": name_of(trial.number),
        "drawn": trial.drawn,
        "score": float(np.mean(scores)),
        "scores": list(scores),
        "ahead": None if ahead is None else dataclasses.asdict(ahead),
        "values": dict(trial.values),
    }


def _random(trials: Sequence[SearchTrial], scores: Mapping[int, Sequence[float]]) -> dict[str, Any] | None:
    """Return how the search compares with random search after equal steps; None where one of them has nothing."""
    best = arms_best(trials)
    search, random = best["search"], best["random"]
    if search is None or random is None or not {search, random} <= scores.keys():
        return None
    ahead = difference(scores[search], scores[random])
    names = {"search": name_of(search), "random": name_of(random)}
    return {**names, "steps": common_steps(trials), "ahead": dataclasses.asdict(ahead)}


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
    settings: dict[str, Any] = {"env": found.env, "algorithm": found.algorithm, "framework": found.framework}
    settings |= {name: value for name in ("env_kwargs", "wrappers", "net_arch") if (value := getattr(found, name))}
    kept = ("n_envs", "window_size", "base_interval", "normalize_observations", "normalize_rewards", "val_episodes")
    settings |= {name: getattr(found, name) for name in kept}
    if found.hyperparams:
        settings[found.algorithm] = dict(found.hyperparams)
    text = require("yaml", "best.yaml", "tune").safe_dump(settings, sort_keys=False)
    with storage_errors("write", path):
        replace_file(path, text.encode())
