"""What is wrong with an environment, what it costs, and what would be trained on it.

from tensor_optix.environment_check import check_environment

print(check_environment("CartPole-v1"))
"""

import math
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from tensor_optix._random_play import Play, differs, play
from tensor_optix.errors import MissingDependencyError, TensorOptixError
from tensor_optix.factory import make_agent, resolve_algorithm
from tensor_optix.pipeline._items import OBJECTIVES
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.own_code import EnvKwargs, EnvLike
from tensor_optix.presets import has_preset
from tensor_optix.support.arguments import check_count
from tensor_optix.support.trees import leaves

Level = Literal["error", "warning", "note"]
_ORDER: tuple[Level, ...] = ("error", "warning", "note")
STEPS = 1_000
"""Random steps that are played."""
_REPEATED = 100
_LARGE, _SMALL = 100.0, 0.01
_LARGE_OBSERVATION = 100.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m|^(WARN|ERROR): ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know about an environment."""

    level: Level
    """An error keeps it from being trained, a warning costs something, a note is good to know."""
    about: str
    """One word: `spaces`, `observations`, `rewards`, `episodes`, `seeds`, `step`, `api` or `framework`."""
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class EnvironmentCheck:
    """What a check has come to."""

    env: str
    observation_space: str
    action_space: str
    algorithm: str | None
    """That would be trained; None where none can."""
    has_preset: bool
    """True if hyper-parameters are known for it."""
    steps: int
    """That were played."""
    microseconds_per_step: float | None
    microseconds_per_reset: float | None
    episodes: int
    mean_return: float | None
    """Of random actions, over episodes that ended."""
    mean_length: float | None
    findings: tuple[Finding, ...]

    @property
    def is_trainable(self) -> bool:
        """True if nothing keeps it from being trained."""
        return not any(finding.level == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "findings": [asdict(one) for one in self.findings], "is_trainable": self.is_trainable}

    def __str__(self) -> str:
        lines = [
            f"{self.env}: observations {self.observation_space}, actions {self.action_space}",
            f"Algorithm: {self.algorithm or 'none'}{', with a preset' if self.has_preset else ''}",
        ]
        if self.microseconds_per_step is not None:
            seconds = self.microseconds_per_step  # of a million steps
            lines.append(f"Cost: {self.microseconds_per_step:,.0f} µs a step; a million steps take {seconds:,.0f} s")
        if self.mean_return is not None:
            lines.append(
                f"At random: return {self.mean_return:,.2f} in {self.mean_length:,.0f} steps, {self.episodes} episodes"
            )
        return "\n".join([*lines, *map(str, self.findings)])


def check_environment(
    env: EnvLike,
    env_kwargs: EnvKwargs | None = None,
    wrappers: Sequence[str] = (),
    *,
    algorithm: str = "auto",
    framework: str = "auto",
    steps: int = STEPS,
    clock: Callable[[], float] = time.perf_counter,
) -> EnvironmentCheck:
    """Play an environment at random, and return what is wrong with it and what it costs.

    Args:
        env: an environment, its id or place, or what makes one.
        env_kwargs: arguments of what makes it.
        wrappers: places of wrappers to put around it.
        algorithm: the one to train, or `"auto"`.
        framework: `"tf"`, `"torch"`, or `"auto"`.
        steps: to play.
        clock: monotonic seconds.

    Raises:
        TensorOptixError: it cannot be made.
    """
    check_count("steps", steps, 1)
    make = partial(make_environment, env, env_kwargs, wrappers)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = make()
        chosen, findings = _algorithm(made, algorithm, framework)
        found = play(made, steps, clock=clock)
        findings += _of_play(made, found)
        if not isinstance(env, gym.Env) and not found.failure:
            findings += [*_of_seeds(make), *_of_gymnasium(make)]
    findings += _told(said)
    name, n_steps = env if isinstance(env, str) else str(made), len(found.rewards)
    check = EnvironmentCheck(
        env=name,
        observation_space=str(made.observation_space),
        action_space=str(made.action_space),
        algorithm=chosen,
        has_preset=chosen is not None and has_preset(name, chosen),
        steps=n_steps,
        microseconds_per_step=1e6 * found.step_seconds / n_steps if n_steps else None,
        microseconds_per_reset=1e6 * found.reset_seconds / found.n_resets if found.n_resets else None,
        episodes=len(found.lengths),
        mean_return=_mean(found.returns),
        mean_length=_mean(found.lengths),
        findings=tuple(sorted(findings, key=lambda one: _ORDER.index(one.level))),
    )
    made.close()
    return check


def _algorithm(env: gym.Env, algorithm: str, framework: str) -> tuple[str | None, list[Finding]]:
    """Return the algorithm that would be trained, and why none is."""
    try:
        chosen = resolve_algorithm(algorithm, env)
        make_agent(env, chosen, framework, seed=0)
    except MissingDependencyError as error:
        return None, [Finding(level="error", about="framework", message=str(error))]
    except TensorOptixError as error:
        return None, [Finding(level="error", about="spaces", message=str(error))]
    return chosen, []


def _of_play(env: gym.Env, found: Play) -> Iterator[Finding]:
    """Judge what random actions have shown."""
    if found.failure:
        yield Finding(level="error", about="step", message=f"{found.failure}.")
    yield from _of_rewards(found)
    yield from _of_observations(env, found)
    if found.rewards and not found.lengths and not _has_limit(env):
        yield Finding(
            level="warning",
            about="episodes",
            message=f"No episode ended in {len(found.rewards)} steps, and there is no time limit: a score needs ends. "
            f"Give one: --wrapper gymnasium.wrappers:TimeLimit:max_episode_steps=1000.",
        )


def _of_rewards(found: Play) -> Iterator[Finding]:
    for bad in (reward for reward in found.rewards if not _is_reward(reward)):
        message = f"A reward must be a finite number, but step gave {bad!r}."
        if np.size(bad) > 1:
            message = f"{message[:-1]}; {OBJECTIVES}."
        yield Finding(level="error", about="rewards", message=message)
        return
    sizes = np.abs([float(reward) for reward in found.rewards])
    if not sizes.size:
        return
    if not sizes.any():
        yield Finding(
            level="note",
            about="rewards",
            message=f"Every reward of {sizes.size} random steps was 0. A reward that random actions hardly ever find "
            f"is hard to learn from: reward steps on the way to it.",
        )
    elif sizes.max() > _LARGE or sizes.max() < _SMALL:
        yield Finding(
            level="warning",
            about="rewards",
            message=f"Rewards are as large as {sizes.max():.3g}; algorithms expect about 1. --normalize-rewards scales "
            f"them while training.",
        )


def _of_observations(env: gym.Env, found: Play) -> Iterator[Finding]:
    numbers = [np.asarray(leaf) for seen in found.observations for leaf in leaves(seen)]
    numbers = [array for array in numbers if array.dtype.kind in "fiub" and array.size]
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in numbers):
        yield Finding(
            level="error", about="observations", message="An observation has NaN or infinity, which ends its episode."
        )
        return
    outside = sum(not env.observation_space.contains(seen) for seen in found.observations)
    if outside:
        yield Finding(
            level="warning",
            about="observations",
            message=f"{outside} of {len(found.observations)} observations are not in the observation space "
            f"{env.observation_space}: they have another shape, dtype or range.",
        )
    largest = max((float(np.abs(array).max()) for array in numbers if array.dtype.kind == "f"), default=0.0)
    if largest > _LARGE_OBSERVATION:
        yield Finding(
            level="warning",
            about="observations",
            message=f"Observations are as large as {largest:.3g}; networks expect about 1. --normalize-observations "
            f"scales them while training.",
        )


def _of_seeds(make: Callable[[], gym.Env]) -> Iterator[Finding]:
    """Play a few steps with one seed and with another: does it repeat, and does the seed change anything?"""
    plays: list[Play] = []
    for seed in (0, 0, 1):
        made = make()
        plays.append(play(made, _REPEATED, seed))
        made.close()
    first, again, other = plays
    if differs(first, again):
        yield Finding(
            level="warning",
            about="seeds",
            message="The same seed and the same actions gave another episode, so no score can be verified. Draw random "
            "numbers from self.np_random, and call super().reset(seed=seed) in reset.",
        )
    elif not differs(first, other):
        yield Finding(
            level="note",
            about="seeds",
            message="No seed changes anything: the same actions give the same episode. In a simulator without chance "
            "this is as it should be. If it replays recorded data, cut the data by time with "
            "tensor_optix.split_by_time: see docs/data.md.",
        )


def _of_gymnasium(make: Callable[[], gym.Env]) -> Iterator[Finding]:
    """Ask Gymnasium's own checker, which stops at the first thing that it refuses."""
    made = make()
    try:
        check_env(made.unwrapped, skip_render_check=True, skip_close_check=True)
    except Exception as error:  # it asserts, and the environment may raise
        yield Finding(level="warning", about="api", message=f"Gymnasium's checker: {_plain(error)}")
    finally:
        made.close()


def _told(said: Sequence[warnings.WarningMessage]) -> list[Finding]:
    """Return what was warned of meanwhile, each once."""
    messages = dict.fromkeys(_plain(one.message) for one in said)
    return [Finding(level="note", about="api", message=f"Warned of: {message}") for message in messages]


def _plain(message: object) -> str:
    return " ".join(_COLOURS.sub("", str(message)).split())


def _has_limit(env: gym.Env) -> bool:
    layer = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, TimeLimit):
            return True
        layer = layer.env
    return env.spec is not None and env.spec.max_episode_steps is not None


def _is_reward(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
