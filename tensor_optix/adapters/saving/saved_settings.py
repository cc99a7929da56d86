"""What a training state says of optimizers and generators, compared with those of the agent."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.errors import CheckpointMismatchError
from tensor_optix.support.schemas import check_plain

_MOST_PER_WEIGHT = 8
"""Moments that an optimizer may keep of one tensor; Adam has three, the largest known five."""
_NAME = re.compile(r"[0-9]{1,6}(\.[A-Za-z_][A-Za-z0-9_]{0,63})?")


def check_moments(
    name: str, saved: Mapping[str, TensorSpec], own: Mapping[str, np.ndarray], weights: Iterable[np.ndarray]
) -> None:
    """Raise `CheckpointMismatchError` unless an optimizer may have such moments.

    What `own` does not know of, such as entries that some optimizers make only after many steps, is single numbers, and
    arrays that are like one of the weights.

    Args:
        name: of the optimizer.
        saved: what the file has, by `<weight>.<moment>`.
        own: the moments that the optimizer has, or will have after a step, whatever they hold.
        weights: those that it may train.
    """
    shapes = [array.shape for array in weights]
    types = {array.dtype for array in own.values()}
    if len(saved) > max(len(own), _MOST_PER_WEIGHT * (len(shapes) + 1)):
        raise CheckpointMismatchError(f"The saved {name} has {len(saved)} tensors, far more than it can have.")
    for moment, spec in saved.items():
        if not _NAME.fullmatch(moment):
            raise CheckpointMismatchError(f"The saved {name} has tensor {moment!r}, which no optimizer has.")
        of_own = own.get(moment)
        fits = spec.shape == of_own.shape if of_own is not None else math.prod(spec.shape) == 1 or spec.shape in shapes
        is_number = np.issubdtype(spec.dtype, np.floating) or spec.dtype in types or math.prod(spec.shape) == 1
        if not fits or not is_number or (of_own is not None and spec.dtype != of_own.dtype):
            raise CheckpointMismatchError(
                f"The saved {name}'s tensor {moment!r} of shape {spec.shape} and {spec.dtype} does not fit its weights."
            )


def check_settings(name: str, saved: Mapping[str, object], own: Mapping[str, object]) -> None:
    """Raise `CheckpointMismatchError` unless an optimizer's saved settings are of the same kinds as its own."""
    check_plain(saved)
    if saved.keys() != own.keys():
        raise CheckpointMismatchError(f"The saved {name} has the settings {sorted(saved)}, this one {sorted(own)}.")
    for key, value in saved.items():
        if key == "plain":  # entries per parameter: there are none before the first step
            if not isinstance(value, dict) or not all(
                _NAME.fullmatch(entry) and (item is None or _is_number(item)) for entry, item in value.items()
            ):
                raise CheckpointMismatchError(f"The saved {name} has entries that are no numbers: {value!r}.")
        elif not _is_alike(value, own[key]):
            raise CheckpointMismatchError(f"The saved {name} has {key}={value!r}, which is nothing like {own[key]!r}.")


def restored_generators(
    generators: Mapping[str, np.random.Generator], saved: Mapping[str, Mapping[str, object]]
) -> dict[str, Mapping[str, object]]:
    """Return the states to put in force, each tried on a generator of its own.

    Raises:
        CheckpointMismatchError: one is missing, unknown, or no state of such a generator.
    """
    if saved.keys() != generators.keys():
        raise CheckpointMismatchError(
            f"The training state has the generators {sorted(saved)}, the agent has {sorted(generators)}."
        )
    states = {}
    for name, generator in generators.items():
        trial = type(generator.bit_generator)()
        try:
            trial.state = dict(saved[name])
        except (ValueError, TypeError, KeyError, OverflowError, IndexError, AttributeError) as error:
            raise CheckpointMismatchError(f"The saved state of generator {name!r} is none: {error!r}.") from error
        states[name] = trial.state
    return states


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e30


def _is_alike(saved: Any, own: Any) -> bool:
    """Return True if two settings are of one kind; None stands for a switch that is not set."""
    if isinstance(own, bool) or own is None:
        return saved is None or isinstance(saved, bool)
    if isinstance(own, int | float):
        return _is_number(saved)
    if isinstance(own, str):
        return isinstance(saved, str) and len(saved) <= 256
    if isinstance(own, Mapping):
        return isinstance(saved, Mapping) and all(key in own and _is_alike(saved[key], own[key]) for key in saved)
    return (
        isinstance(saved, list | tuple)
        and len(saved) == len(own)
        and all(_is_alike(one, other) for one, other in zip(saved, own, strict=True))
    )
