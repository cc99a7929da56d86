"""What an environment does under random actions: the facts that `environment_check` judges."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Action, Observation
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.environment.infos import mask_in
from tensor_optix.pipeline.environment.resets import EnvironmentReset
from tensor_optix.support.arguments import is_number
from tensor_optix.support.trees import copied, leaves

_MOST_SECONDS = 10.0
"""What a slow environment is played at most."""


@dataclass(kw_only=True)
class Play:
    """What random actions have shown."""

    rewards: list[Any] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    """Those of resets included, in their order."""
    lengths: list[int] = field(default_factory=list)
    """Steps of the episodes that ended."""
    returns: list[float] = field(default_factory=list)
    n_truncated: int = 0
    has_masks: bool = False
    step_seconds: float = 0.0
    """In `step` alone, over all steps."""
    reset_seconds: float = 0.0
    n_resets: int = 0
    failure: str = ""
    """What was raised, and where; empty for nothing."""
    ran_out_of_time: bool = False
    """True if it was left before all steps were made."""


def play(
    env: gym.Env,
    steps: int,
    seed: int = 0,
    *,
    clock: Callable[[], float] = time.perf_counter,
    seconds: float = _MOST_SECONDS,
) -> Play:
    """Play random actions, allowed ones where there are masks, and return what they have shown.

    Args:
        env: the environment.
        steps: at most.
        seed: of the first reset; those that follow have the next ones. The actions are always the same.
        clock: monotonic seconds.
        seconds: after which no further step is made.
    """
    found, reset = Play(), EnvironmentReset(env, warns=False)
    where, total, length = "reset", 0.0, 0
    info = space = None
    begin = clock()
    try:
        for number in range(steps):
            if info is None:
                where, start = "reset", clock()
                observation, info = reset(seed=seed + number)
                found.reset_seconds, found.n_resets = found.reset_seconds + clock() - start, found.n_resets + 1
                found.observations.append(copied(observation))
                total, length = 0.0, 0
            where = "the action space"
            space = _own_space(env) if space is None else space
            action = _action(space, info, found)
            where, start = "step", clock()
            observation, reward, terminated, truncated, info = env.step(action)
            found.step_seconds += clock() - start
            found.observations.append(copied(observation))
            found.rewards.append(reward)
            total, length = total + (float(reward) if is_number(reward) else 0.0), length + 1
            if terminated or truncated:
                found.lengths.append(length)
                found.returns.append(total)
                found.n_truncated += bool(truncated)
                info = None
            if clock() - begin > seconds:
                found.ran_out_of_time = number + 1 < steps
                break
    except Exception as error:  # whatever its own code raises
        found.failure = f"{where} raised {type(error).__name__}: {error}"
    return found


def differs(one: Play, other: Play) -> bool:
    """Return True if two plays have shown other rewards or other observations, as far as both had the time to go."""
    had_time = not (one.ran_out_of_time or other.ran_out_of_time)
    return (
        (had_time and len(one.rewards) != len(other.rewards))
        or _differ(one.rewards, other.rewards)
        or _differ(one.observations, other.observations)
    )


def _own_space(env: gym.Env) -> spaces.Space[object]:
    """Return a seeded copy: an environment may make its space anew at each reset, and that one is not seeded."""
    space = copy.deepcopy(env.action_space)
    space.seed(0)
    return space


def _differ(some: Sequence[object], others: Sequence[object]) -> bool:
    return any(not _equal(a, b) for a, b in zip(some, others, strict=False))


def _equal(one: object, other: object) -> bool:
    found, others = leaves(one), leaves(other)
    return len(found) == len(others) and all(map(_equal_leaves, found, others))


def _equal_leaves(one: object, other: object) -> bool:
    try:
        return bool(np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True))
    except TypeError:  # text has no NaN
        return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def _action(space: spaces.Space[object], info: Mapping[str, object], found: Play) -> Action:
    mask = mask_in(info) if isinstance(info, Mapping) else None
    if mask is None:
        return space.sample()
    found.has_masks = True
    if not isinstance(space, spaces.Discrete):
        return space.sample()
    if len(mask) != space.n:
        raise BadDataError(f"info['action_mask'] has {len(mask)} flags for {space.n} actions")
    return space.sample(mask.astype(np.int8))
