"""Reading an agent's hyper-parameters: the values in force, and those that a saved run puts back."""

import math
from collections.abc import Mapping

from tensor_optix.core.base_agent import BaseAgent, ReportsEffectiveHyperparams
from tensor_optix.core.types import HyperparamSet, jsonable
from tensor_optix.errors import HyperparamError
from tensor_optix.support.arguments import is_real

_ROUNDING = 1e-6
"""Relative difference that single precision may make."""


def effective_params(agent: BaseAgent) -> Mapping[str, object]:
    """Return the values in force, read from the optimizer where the agent can tell them."""
    read = agent.get_hyperparams().params
    return {**read, **agent.effective_hyperparams()} if isinstance(agent, ReportsEffectiveHyperparams) else read


def read_back(agent: BaseAgent, requested: Mapping[str, object]) -> dict[str, object]:
    """Return the values in force, or raise `HyperparamError` if one of them is not what was asked for."""
    if not requested:
        return {}
    effective = effective_params(agent)
    for name, value in requested.items():
        arrived = effective.get(name)
        if arrived != value and not _is_rounded(value, arrived):
            raise HyperparamError(
                f"{name!r} was set to {value!r}, but {type(agent).__name__} works with {arrived!r}. Its "
                f"set_hyperparams must put the value in force, or param_bounds must leave it out."
            )
    return {name: effective[name] for name in requested}


def _is_rounded(value: object, arrived: object) -> bool:
    return is_real(value) and is_real(arrived) and math.isclose(arrived, value, rel_tol=_ROUNDING, abs_tol=0.0)


def hyperparams_state(agent: BaseAgent) -> dict[str, object]:
    """Return an agent's hyper-parameters, and the window from which they hold, as plain JSON values."""
    return agent.get_hyperparams().to_dict()


def restore_hyperparams(agent: BaseAgent, saved: Mapping[str, object]) -> None:
    """Put back the hyper-parameters that the agent's training state does not hold: by default it is the weights.

    Raises:
        CheckpointCorruptError: `saved` is not what `hyperparams_state` returned.
    """
    hyperparams, known = agent.get_hyperparams().copy(), HyperparamSet.from_dict(saved)
    moved = {name: value for name, value in known.params.items() if jsonable(hyperparams.params.get(name)) != value}
    if moved or hyperparams.episode_id != known.episode_id:
        agent.set_hyperparams(HyperparamSet({**hyperparams.params, **moved}, known.episode_id))
