"""PyTorch where users import what needs it: its absence is an error that says how to install it."""

from tensor_optix.errors import MissingDependencyError
from tensor_optix.support.collector import collector_paused

try:
    with collector_paused():
        import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingDependencyError(
        "The PyTorch agents need torch, which is not installed. Install it with: pip install 'tensor-optix-core[torch]'"
    ) from error

__all__ = ["torch"]
