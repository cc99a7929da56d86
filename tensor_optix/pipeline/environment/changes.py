"""What was changed on an environment after it was made: `env.unwrapped.gravity = 20.0`.

A copy that is made as the environment was made does not have it. The attributes of an environment and of its wrappers
are compared with those of a new one. What a new one changes by itself in a reset and a few steps is the state of an
episode, and no setting.
"""

import copy
import dataclasses
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property, partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from tensor_optix.pipeline.environment.resets import EnvironmentReset
from tensor_optix.support.arguments import is_whole

EnvFn = Callable[[], gym.Env]
Path = tuple[int | str, ...]
"""Where an attribute is: the number of the wrapper from the outside, then the names that lead to it."""

WATCHING_WRAPPERS = ("RecordVideo", "HumanRendering", "RenderCollection")
"""They change nothing of an environment, and no copy has them."""

_NEUTRAL = (*WATCHING_WRAPPERS, "OrderEnforcing", "PassiveEnvChecker")

_NEVER_SETTINGS = frozenset(
    ("env", "spec", "render_mode", "metadata", "_cached_spec", "_np_random", "_np_random_seed", "_saved_kwargs")
)
_DRAWING = ("screen", "surf", "clock", "viewer", "window", "render", "canvas", "font", "isopen", "fig")
_DRAWING_PACKAGES = ("pygame", "glfw", "pyglet", "cv2", "matplotlib")
_ATOMS = (bool, int, float, complex, str, bytes, type(None), np.generic, Enum)
_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)
_SEQUENCES = (list, tuple, deque)
_LEAVES = (*_ATOMS, *_FUNCTIONS, *_SEQUENCES, np.ndarray, Mapping, set, frozenset, partial, type, types.ModuleType)
_STATISTICS = ("mean", "var", "std", "rms", "running", "stat", "norm")
"""Of an attribute with such a name, numbers that stay over a reset are statistics."""
_STEPS, _LONGEST = 3, 200
"""Steps that are played: to see what stays over a reset, and what an episode changes until its end."""
_DEEPEST = 4
_MOST = 10_000
"""Attributes that are compared; an environment with more is compared in part."""


def layers_of(env: gym.Env) -> list[gym.Env]:
    """Return an environment's wrappers from the outside, without those that change nothing, then the environment."""
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    limits = [layer for layer in layers if isinstance(layer, gym.wrappers.TimeLimit)]
    shortest = min(limits, key=lambda layer: layer._max_episode_steps, default=None)
    return [
        layer for layer in layers if type(layer).__name__ not in _NEUTRAL and (layer not in limits or layer is shortest)
    ]


def time_limit_of(env: gym.Env) -> int | None:
    """Return the steps after which an environment truncates its episodes by itself; None where none is known."""
    limits = [getattr(layer, "_max_episode_steps", None) for layer in layers_of(env)]
    known = [limit for limit in (*limits, getattr(env.spec, "max_episode_steps", None)) if is_whole(limit)]
    return min(known, default=None)


def attributes_of(env: gym.Env) -> dict[Path, object]:
    """Return the attributes of an environment and of its wrappers; those of objects in them one by one."""
    found: dict[Path, object] = {}
    for i, layer in enumerate(layers_of(env)):
        for path, value in _attributes(layer, (i,)):
            if len(found) >= _MOST:
                return found
            found[path] = value
    return found


class Fresh:
    """A new environment, to compare one with that was made in the same way and may have been changed since.

    Args:
        make: makes one.

    Attributes:
        env: the one that was made, which nobody has stepped.
    """

    def __init__(self, make: EnvFn) -> None:
        self.make = make
        self.env = make()
        self.attributes = attributes_of(self.env)

    def changes(self, attributes: Mapping[Path, object]) -> dict[Path, object]:
        """Return the attributes that differ from the new environment's, and are no state of an episode.

        Args:
            attributes: of an environment, see `attributes_of`.

        Raises:
            ValueError: one of them cannot be set on a copy.
        """
        changed = _changed(attributes, self.attributes)
        if changed:
            changed = {path: value for path, value in changed.items() if not fits_within(path, self.episode_state)}
        for path, value in changed.items():
            if not _can_be_set(value):
                raise ValueError(
                    f"its attribute {path[-1]!r} was changed after it was made, which a copy would not have"
                )
        return changed

    @cached_property
    def episode_state(self) -> Mapping[Path, object]:
        """What a new environment changes by itself."""
        played = self.make()
        try:
            _reset(played)
            begun = _changed(attributes_of(played), self.attributes)
            _play(played, _LONGEST)
            return {**begun, **_changed(attributes_of(played), self.attributes)}
        except Exception:  # it cannot be played yet, as it was made; then what was changed is set on the copies
            return {}
        finally:
            played.close()

    @cached_property
    def statistics(self) -> str | None:
        """Name of a wrapper that keeps statistics over all episodes, None without one."""
        layers = layers_of(self.env)[:-1]
        for layer in layers:
            if isinstance(layer, gym.wrappers.NormalizeObservation | gym.wrappers.NormalizeReward):
                return type(layer).__name__
        own = [i for i, layer in enumerate(layers) if not type(layer).__module__.startswith("gymnasium.")]
        kept = self._kept_over_a_reset(own) if own else []
        return type(layers[kept[0]]).__name__ if kept else None

    def _kept_over_a_reset(self, numbers: Sequence[int]) -> list[int]:
        """Return which of the wrappers hold other statistics after a reset than after the one before, with one seed."""
        played = self.make()
        try:
            _reset(played)
            before = _statistics_of(played)
            _play(played, _STEPS)
            _reset(played)
            changed = _changed(_statistics_of(played), before)
            return [i for i in numbers if any(path[0] == i for path in changed)]
        except Exception:
            return []
        finally:
            played.close()


def apply_changes(env: gym.Env, changes: Mapping[Path, object]) -> gym.Env:
    """Set on a copy what `Fresh.changes` has found, and return it."""
    layers = layers_of(env)
    for (layer, *names), value in changes.items():
        owner: object = layers[int(layer)]
        for name in names[:-1]:
            owner = getattr(owner, str(name))
        setattr(owner, str(names[-1]), copy.deepcopy(value))
    return env


def vector_changes(env: VectorEnv, make: Callable[[], VectorEnv]) -> list[str]:
    """Return the names of what was changed on a vector after it was made, that is no collection of environments.

    Args:
        env: the vector.
        make: makes a new one.
    """
    played, new = make(), make()
    try:
        attributes = dict(_attributes(new.unwrapped, ()))
        state = _state_of(played, attributes)
        changed = _changed(dict(_attributes(env.unwrapped, ())), attributes)
    finally:
        played.close()
        new.close()
    return [str(path[-1]) for path in changed if not fits_within(path, state)]


def _state_of(vector: VectorEnv, new: Mapping[Path, object]) -> dict[Path, object]:
    """Return what a vector changes by itself until an episode ends, the mark of that included."""
    vector.reset(seed=0)
    vector.action_space.seed(0)
    state: dict[Path, object] = {}
    for _ in range(_LONGEST):
        *_, terminated, truncated, _ = vector.step(vector.action_space.sample())
        state |= _changed(dict(_attributes(vector.unwrapped, ())), new)
        if np.any(terminated) or np.any(truncated):
            break
    return state


def _statistics_of(env: gym.Env) -> dict[Path, object]:
    """Return copies of the numbers that are named as statistics are."""
    return {
        path: np.array(value)
        for path, value in attributes_of(env).items()
        if isinstance(value, float | np.floating | np.ndarray)
        and any(word in str(name).lower() for name in path[1:] for word in _STATISTICS)
    }


def _reset(env: gym.Env) -> None:
    EnvironmentReset(env, warns=False)(seed=0)


def _play(env: gym.Env, steps: int) -> None:
    """Take so many steps, or fewer where the episode ends before."""
    env.action_space.seed(0)
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            return


def _attributes(owner: object, path: Path) -> Iterator[tuple[Path, object]]:
    for name, value in list(vars(owner).items()):
        if name in _NEVER_SETTINGS or name.startswith(_DRAWING) or isinstance(value, gym.Env | VectorEnv):
            continue
        if getattr(type(value), "__module__", "").partition(".")[0] in _DRAWING_PACKAGES:
            continue
        if len(path) <= _DEEPEST and _has_attributes(value):
            yield from _attributes(value, (*path, name))
        else:
            yield (*path, name), value


def _has_attributes(value: object) -> bool:
    """Return True for an object that is made of attributes, which can be set one by one."""
    if isinstance(value, (*_LEAVES, gym.Space, np.random.Generator)) or hasattr(value, "equals"):
        return False
    return hasattr(value, "__dict__") and not _is_frozen(value)


def _is_frozen(value: object) -> bool:
    return dataclasses.is_dataclass(value) and getattr(value, "__dataclass_params__").frozen  # noqa: B009 - untyped


def _changed(attributes: Mapping[Path, object], new: Mapping[Path, object]) -> dict[Path, object]:
    return {path: value for path, value in attributes.items() if path not in new or _differs(value, new[path])}


def fits_within(path: Path, state: Mapping[Path, object]) -> bool:
    """Return whether an attribute is one of `state`, holds one, or is held by one."""
    return any(one[: len(path)] == path[: len(one)] for one in state)


def _differs(value: Any, new: Any, depth: int = 0) -> bool:
    if value is new or depth > _DEEPEST or isinstance(value, np.random.Generator | np.random.RandomState):
        return False
    if isinstance(value, _FUNCTIONS) and isinstance(new, _FUNCTIONS):
        return getattr(value, "__code__", value) != getattr(new, "__code__", new)
    if type(value) is not type(new):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype != new.dtype or not np.array_equal(value, new, equal_nan=value.dtype.kind in "fc")
    if isinstance(value, _ATOMS):
        return not bool(value == new or (value != value and new != new))
    if isinstance(value, Mapping):
        return value.keys() != new.keys() or any(_differs(one, new[key], depth + 1) for key, one in value.items())
    if isinstance(value, _SEQUENCES):
        pairs = zip(value, new, strict=False)
        return len(value) != len(new) or any(_differs(one, other, depth + 1) for one, other in pairs)
    if isinstance(value, partial):
        pairs = ((value.func, new.func), (value.args, new.args), (value.keywords, new.keywords))
        return any(_differs(one, other, depth + 1) for one, other in pairs)
    if hasattr(value, "equals"):  # a table
        return not getattr(value, "equals")(new)  # noqa: B009 - of no known type
    if isinstance(value, set | frozenset | gym.Space | type):
        return bool(value != new)
    return _differs_as_object(value, new, depth)


def _differs_as_object(value: object, new: object, depth: int) -> bool:
    """Compare by the type's own rule, or else by the attributes: what has none is a thing of the machine."""
    if type(value).__eq__ is not object.__eq__:
        return bool(value != new)
    return _differs(getattr(value, "__dict__", None), getattr(new, "__dict__", None), depth + 1)


def _can_be_set(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_can_be_set, value.values()))
    if isinstance(value, (*_SEQUENCES, set, frozenset)):
        return all(map(_can_be_set, value))
    if isinstance(value, np.ndarray):
        return value.dtype != object
    return isinstance(value, _ATOMS) or hasattr(value, "equals") or _is_frozen(value)
