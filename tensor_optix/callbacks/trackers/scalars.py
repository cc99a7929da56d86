"""What a turn of the loop is called where curves are shown: one mapping for all trackers.

    rollout/, train/, eval/, time/      the names of Stable-Baselines3
    charts/, losses/, eval/             those of CleanRL, where they are asked for
    loop/, hp/, hp_requested/           ours: the state of the loop; hyper-parameters in force, and as asked for
    watch/, evolution/                  ours: how often something has happened

x is always environment steps of training.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from tensor_optix.callbacks.trackers.turns import Turn
from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.types import LoopState
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.narrowing import is_mapping

Names: TypeAlias = Literal["sb3", "cleanrl"]
"""Whose names scalars have."""
MOST_CHARACTERS = 200
"""Of a name; MLflow takes 250."""

_SB3 = {
    "mean_return": "rollout/ep_rew_mean",
    "mean_length": "rollout/ep_len_mean",
    "success_rate": "rollout/success_rate",
    "epsilon": "rollout/exploration_rate",
    "loss": "train/loss",
    "policy_loss": "train/policy_gradient_loss",
    "value_loss": "train/value_loss",
    "entropy": "-train/entropy_loss",
    "approx_kl": "train/approx_kl",
    "clip_fraction": "train/clip_fraction",
    "explained_var": "train/explained_variance",
    "actor_loss": "train/actor_loss",
    "critic_loss": "train/critic_loss",
    "alpha": "train/ent_coef",
    "alpha_loss": "train/ent_coef_loss",
    "learning_rate": "train/learning_rate",
    "score": "eval/mean_reward",
    "fps": "time/fps",
}
_CLEANRL = {
    "mean_return": "charts/episodic_return",
    "mean_length": "charts/episodic_length",
    "success_rate": "charts/success_rate",
    "epsilon": "charts/epsilon",
    "loss": "losses/loss",
    "policy_loss": "losses/policy_loss",
    "value_loss": "losses/value_loss",
    "entropy": "losses/entropy",
    "approx_kl": "losses/approx_kl",
    "clip_fraction": "losses/clipfrac",
    "explained_var": "losses/explained_variance",
    "actor_loss": "losses/actor_loss",
    "critic_loss": "losses/qf_loss",
    "mean_q": "losses/q_values",
    "alpha": "losses/alpha",
    "alpha_loss": "losses/alpha_loss",
    "learning_rate": "charts/learning_rate",
    "score": "eval/episodic_return",
    "fps": "charts/SPS",
}
_TABLES: Mapping[str, Mapping[str, str]] = {"sb3": _SB3, "cleanrl": _CLEANRL}
"""Our names and theirs; a minus sign before a name: theirs is the negative of ours."""
_DIAGNOSTICS = {"sb3": "train/", "cleanrl": "losses/"}
"""Where what else `learn` tells stands."""
_SYNONYMS = {"explained_variance": "explained_var"}
_STATES = {state.value: float(number) for number, state in enumerate(LoopState)}
_COUNTS = {
    "fault": "loop/faults",
    "rollback": "loop/rollbacks",
    "degradation": "loop/degradations",
    "escape": "loop/escape_events",
    "resume": "loop/resumes",
    "test/crowned": "loop/tests_won",
    "test/refused": "loop/tests_lost",
    "spawn": "evolution/spawns",
    "prune": "evolution/prunes",
}
_UNFIT = re.compile(r"[^A-Za-z0-9_\-./ ]")


def check_names(names: str) -> None:
    """Raise `InvalidArgumentError` unless `names` are those of somebody known."""
    if names not in _TABLES:
        raise InvalidArgumentError(f"names must be one of {', '.join(map(repr, _TABLES))}, but got {names!r}.")


def scalars(turn: Turn, names: Names = "sb3") -> dict[str, float]:
    """Return the scalars of a turn by name; what is not finite is left out.

    Args:
        turn: what happened.
        names: whose names they have.
    """
    table, rest = _TABLES[names], _DIAGNOSTICS[names]
    found: dict[str, float] = {}
    for name, value in (*_window(turn), *_evaluation(turn.evaluation)):
        known = table.get(_SYNONYMS.get(name, name))
        if known is None:
            known = name if "/" in name else rest + name
        sign = -1.0 if known.startswith("-") else 1.0
        if math.isfinite(value):
            found.setdefault(fit(known.removeprefix("-")), sign * value)
    return found


def fit(name: str) -> str:
    """Return a name as every tracker takes it: letters, digits and `_-./ `, and not too long."""
    return _UNFIT.sub("_", name)[:MOST_CHARACTERS]


def _window(turn: Turn) -> Iterator[tuple[str, float]]:
    seconds = sum(turn.seconds.values())
    yield "time/total_timesteps", float(turn.env_steps)
    yield "time/iterations", float(turn.window_id + 1)
    yield "time/time_elapsed", turn.total_seconds
    if seconds > 0:
        yield "fps", turn.steps / seconds
    for part, spent in turn.seconds.items():
        yield f"time/{part}_seconds", spent
    for name in ("mean_return", "mean_length", "success_rate"):
        yield name, _number(turn.window.get(name))
    yield "rollout/episodes", _number(turn.window.get("episodes"))
    told: object = turn.window.get("diagnostics")
    diagnostics: Mapping[object, object] = told if is_mapping(told) else {}
    for name, value in diagnostics.items():
        yield str(name).replace("/", "."), _number(value)  # a slash would put it somewhere else
    for kind, count in turn.counts.items():
        counted = _COUNTS.get(kind, _counted(kind))
        if counted:
            yield counted, float(count)


def _counted(kind: str) -> str:
    """Return where a kind of event without a name of its own is counted; empty for nowhere."""
    room, _, what = kind.partition("/")
    rooms = {"watch": "watch/", "variant": "evolution/variants "}
    return f"{rooms[room]}{what}".replace(" ", "_") if what and room in rooms else ""


def _evaluation(record: HistoryRecord | None) -> Iterator[tuple[str, float]]:
    if record is None:
        return
    metrics = record.eval_metrics
    yield "loop/state", _STATES.get(record.state, math.nan)
    yield "loop/interval", float(record.interval)
    yield "loop/best_score", _number(record.best_score)
    if metrics.is_usable:
        yield "score", metrics.primary_score
        yield "eval/std_err", metrics.std_err
        yield "eval/episodes", _number(metrics.metrics.get("val_episodes", metrics.metrics.get("episodes")))
        yield "eval/generalization_gap", metrics.generalization_gap
        yield "eval/success_rate", _number(metrics.metrics.get("val_success_rate"))
        yield "loop/is_best", float(record.is_best)
    for name, value in record.hyperparams.params.items():
        yield f"hp/{name}", _number(value)
    yield "learning_rate", _number(record.hyperparams.params.get("learning_rate"))
    for tuned in record.tuning:
        yield f"hp_requested/{tuned.name}", _number(tuned.requested)


def _number(value: object) -> float:
    """Return a number of a record; NaN where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
