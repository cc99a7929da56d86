"""Scripted scores for an optimizer."""

from typing import Any

from tensor_optix.core.search_space import Param
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer

WIDE = {"x": Param(-1000.0, 1000.0)}


def step(optimizer: BackoffOptimizer, params: dict[str, Any], score: float) -> dict[str, Any]:
    """Tell the score of a window with `params` in force, and return what is in force in the next one."""
    return optimizer.suggest(HyperparamSet(dict(params)), EvalMetrics(score)).params


def steps(optimizer: BackoffOptimizer, params: dict[str, Any], scores: list[float]) -> list[dict[str, Any]]:
    """Live through `scores`, always with what was suggested last."""
    in_force = []
    for score in scores:
        params = step(optimizer, params, score)
        in_force.append(params)
    return in_force
