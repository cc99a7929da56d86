"""Trackers by their names, as the command line takes them."""

from typing import cast

from tensor_optix.callbacks.trackers.scalars import Names, check_names
from tensor_optix.callbacks.trackers.tracker import Tracker
from tensor_optix.errors import InvalidArgumentError, did_you_mean

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")


def trackers_of(wanted: str, names: str = "sb3") -> list[Tracker]:
    """Return a tracker for each name, set up as its own environment variables say.

    Args:
        wanted: names of `TRACKERS`, with commas between them.
        names: whose names scalars have, `"sb3"` or `"cleanrl"`.

    Raises:
        InvalidArgumentError: an unknown tracker, other names, or one that cannot be reached without credentials.
        MissingDependencyError: its package is not installed; the message has the install line.
    """
    check_names(names)
    listed = dict.fromkeys(name for part in wanted.split(",") if (name := part.strip()))
    return [_tracker(name, cast(Names, names)) for name in listed]


def _tracker(name: str, names: Names) -> Tracker:
    if name not in TRACKERS:
        raise InvalidArgumentError(
            f"A tracker is one of {', '.join(TRACKERS)}, but got {name!r}.{did_you_mean(name, TRACKERS)}"
        )
    if name == "tensorboard":
        from tensor_optix.callbacks.trackers.tensorboard import TensorBoard

        return TensorBoard(names=names)
    if name == "mlflow":
        from tensor_optix.callbacks.trackers.mlflow import Mlflow

        return Mlflow(names=names)
    from tensor_optix.callbacks.trackers.wandb import Wandb

    return Wandb(module=name, names=names)
