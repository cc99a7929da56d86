"""Values that fall over the length of a run. Pure functions.

`lin_3e-4` is 3e-4 at the start and 0 at the end, as the Stable-Baselines3 zoo writes it. A value on a schedule is not
tuned: tuning would work against it. It never rises, so that what a divergence has lowered stays low until the schedule
is lower still.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tensor_optix.core.types import Params
from tensor_optix.errors import HyperparamError
from tensor_optix.support.arguments import is_real

SCHEDULED = ("learning_rate", "clip_ratio")
"""The hyper-parameters that can follow a schedule."""
SCHEDULE_PATTERN = r"^lin_([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][-+]?[0-9]{1,3})?\Z"
"""How a schedule is written in a file."""
_PREFIX = "lin_"


@dataclass(frozen=True)
class LinearSchedule:
    """x₀ · (1 − p), p being the share of the run that is over.

    Args:
        initial: x₀.
    """

    initial: float

    def at(self, progress: float) -> float:
        """Return the value at p in [0, 1]."""
        return self.initial * (1.0 - progress)

    def __str__(self) -> str:
        return f"{_PREFIX}{self.initial!r}"


@runtime_checkable
class FollowsSchedules(Protocol):
    """An agent some of whose hyper-parameters follow schedules; the loop puts their values in force."""

    @property
    def schedules(self) -> Mapping[str, LinearSchedule]:
        """The schedules by the names of hyper-parameters."""
        ...


def is_schedule(value: object) -> bool:
    """Return whether a hyper-parameter is given as a schedule."""
    return isinstance(value, str) and value.startswith(_PREFIX)


def taken_apart(params: Params, owner: str) -> tuple[dict[str, Any], dict[str, LinearSchedule]]:
    """Return hyper-parameters with each schedule's first value in its place, and the schedules by name.

    Args:
        params: values by name, schedules as text.
        owner: whose they are, for messages.

    Raises:
        HyperparamError: a schedule of another hyper-parameter than those of `SCHEDULED`, or one without a number.
    """
    schedules = {name: _read(name, value, owner) for name, value in params.items() if is_schedule(value)}
    return {**params, **{name: schedule.initial for name, schedule in schedules.items()}}, schedules


def lowered(params: Params, schedules: Mapping[str, LinearSchedule], progress: float) -> dict[str, float]:
    """Return the values that are to be lowered, by name.

    Args:
        params: the values in force.
        schedules: by name.
        progress: the share of the run that is over, in [0, 1].
    """
    due = {name: schedule.at(progress) for name, schedule in schedules.items()}
    return {name: value for name, value in due.items() if is_real(params.get(name)) and value < params[name]}


def _read(name: str, text: str, owner: str) -> LinearSchedule:
    if name not in SCHEDULED:
        raise HyperparamError(
            f"{owner}: hyper-parameter {name!r} cannot follow a schedule, but got {text!r}. Give a number; a schedule "
            f"is for {' and '.join(SCHEDULED)}."
        )
    initial = float(text.removeprefix(_PREFIX)) if re.match(SCHEDULE_PATTERN, text) else math.inf
    if not math.isfinite(initial):
        raise HyperparamError(
            f"{owner}: hyper-parameter {name!r} must be a number or a schedule such as 'lin_3e-4', but got {text!r}."
        )
    return LinearSchedule(initial)
