"""Callbacks that observe a run."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.callbacks.progress import Progress as Progress
    from tensor_optix.callbacks.trackers.mlflow import Mlflow as Mlflow
    from tensor_optix.callbacks.trackers.tensorboard import TensorBoard as TensorBoard
    from tensor_optix.callbacks.trackers.tracker import Tracker as Tracker
    from tensor_optix.callbacks.trackers.wandb import Wandb as Wandb

_HOMES = {
    "Mlflow": "callbacks.trackers.mlflow",
    "Progress": "callbacks.progress",
    "TensorBoard": "callbacks.trackers.tensorboard",
    "Tracker": "callbacks.trackers.tracker",
    "Wandb": "callbacks.trackers.wandb",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
