"""Callbacks that observe a run."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.callbacks.progress import Progress as Progress

_HOMES = {
    "Progress": "callbacks.progress",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
