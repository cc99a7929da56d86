"""What a search over whole runs moves: ranges and choices by name, and the run that values stand for.

It comes from the ranges in the tables of hyper-parameters and the values in `algorithms._searched`, with the hidden
layers and the number of environments. What the user has set is not moved, and each range holds the value of the preset.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import msgspec

from tensor_optix._hyperparam_names import hyperparam_table
from tensor_optix.algorithms._searched import SEARCHED
from tensor_optix.core.search_space import Param
from tensor_optix.core.types import Params
from tensor_optix.presets import preset_for
from tensor_optix.runs import RunDescription

NET_ARCH, N_ENVS = "net_arch", "n_envs"
LAYERS = ((32, 32), (64, 64), (128, 128), (256, 256))
FACTORS = (0.25, 0.5, 1, 2, 4)
"""Numbers of environments, in units of the preset's."""

Value: TypeAlias = int | float | str
Values: TypeAlias = Mapping[str, Value]
"""Of everything that is searched, by name; the layers as text, such as `"64-64"`."""


class Range(msgspec.Struct, tag="range", frozen=True, forbid_unknown_fields=True):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False


class Choices(msgspec.Struct, tag="choices", frozen=True, forbid_unknown_fields=True):
    """Values to choose from."""

    values: list[int | float | str]


Space: TypeAlias = dict[str, Range | Choices]


def space_of(run: RunDescription, hyperparams: Params, layers: tuple[int, ...]) -> tuple[Space, Values]:
    """Return what is searched around a run, and the values that the run has itself: those of the preset.

    Args:
        run: with what the user has set; `net_arch` is None where that was not, `n_envs` is the one to start from.
        hyperparams: of its agent, all of them.
        layers: hidden ones of its agent; none are searched where it has none, as with images.
    """
    space, preset = Space(), dict[str, Value]()
    ranges, choices = hyperparam_table(run.algorithm).tunable, SEARCHED[run.algorithm]
    for name in (*ranges, *choices):
        if name in run.hyperparams:
            continue
        value: Any = hyperparams[name]
        preset[name] = value
        space[name] = _range(ranges[name], value) if name in ranges else _choices(choices[name], value)
    if run.net_arch is None and layers:
        preset[NET_ARCH] = layers_text(layers)
        space[NET_ARCH] = Choices(
            [layers_text(one) for one in sorted({*LAYERS, layers}, key=lambda one: (sum(one), one))]
        )
    return space, preset


def with_environments(space: Space, preset: Values, run: RunDescription) -> tuple[Space, Values]:
    """Return a space in which the number of environments is searched, too, around that of the preset.

    Args:
        space: what else is searched.
        preset: values of the run.
        run: to be searched around; each number divides its windows, so that all runs have windows of one size.
    """
    usual = preset_for(run.env, run.algorithm).n_envs
    numbers = {
        int(usual * factor) for factor in FACTORS if usual * factor >= 1 and usual * factor == int(usual * factor)
    }
    fitting = sorted(n for n in numbers if run.window_size % n == 0 and n <= run.window_size)
    if len(fitting) < 2 or run.n_envs not in fitting:
        return space, preset
    return {**space, N_ENVS: Choices(list(fitting))}, {**preset, N_ENVS: run.n_envs}


def run_of(run: RunDescription, values: Values) -> RunDescription:
    """Return the run that values stand for.

    Args:
        run: what is searched around.
        values: of everything that is searched.
    """
    hyperparams = {name: value for name, value in values.items() if name not in (NET_ARCH, N_ENVS)}
    layers = [int(size) for size in str(values[NET_ARCH]).split("-")] if NET_ARCH in values else run.net_arch
    n_envs = int(values.get(N_ENVS, run.n_envs))
    return replace(run, hyperparams={**run.hyperparams, **hyperparams}, net_arch=layers, n_envs=n_envs)


def nearest(space: Space, values: Values, otherwise: Values) -> Values:
    """Return the values of the space that are nearest to some that were found elsewhere.

    Args:
        space: what is searched.
        values: that were found; others, and those that are no numbers, are left out.
        otherwise: values where none was found.
    """
    found = dict(otherwise)
    for name, about in space.items():
        value = values.get(name)
        if isinstance(about, Choices) and value in about.values:
            found[name] = about.values[about.values.index(value)]
        elif isinstance(value, int | float) and math.isfinite(value):
            found[name] = _nearest(about, value)
    return found


def layers_text(layers: tuple[int, ...] | list[int]) -> str:
    """Return hidden layers as the value of a choice."""
    return "-".join(map(str, layers))


def _nearest(about: Range | Choices, value: float) -> Value:
    if isinstance(about, Choices):
        return min((one for one in about.values if not isinstance(one, str)), key=lambda one: abs(one - value))
    return Param(about.low, about.high, about.scale, about.integer).clip(value)


def _range(about: Param, value: float) -> Range:
    """Return a range that holds the value of the preset, too."""
    return Range(min(about.low, value), max(about.high, value), about.scale, about.integer)


def _choices(values: tuple[float, ...], value: float) -> Choices:
    return Choices(sorted({*values, value}))
