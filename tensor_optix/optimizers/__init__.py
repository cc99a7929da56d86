"""Hyper-parameter optimizers: they suggest values while the agent trains."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer as BackoffOptimizer
    from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer as PBTOptimizer

_HOMES = {
    "BackoffOptimizer": "optimizers.backoff_optimizer",
    "PBTOptimizer": "optimizers.pbt_optimizer",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
