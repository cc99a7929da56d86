"""The tables of spaces and wrappers in docs/what-works.md: `python -m tests.fakes.served` writes them.

Each cell is run by `tests/pipeline/environment/test_served.py`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces, wrappers

PAGE = Path(__file__).parents[2] / "docs" / "what-works.md"
PIXELS = (84, 84, 3)
COLUMNS = ("PPO", "DQN", "SAC", "own agent")

VECTOR = spaces.Box(-1.0, 1.0, (3,), np.float32)
FINITE = "TransformAction(env, lambda action: action, Box(low, high, shape))"
CHOICES = "TransformAction(env, lambda action: action + low, MultiDiscrete(high - low + 1))"
ONE_ARRAY = "TransformAction(env, function, space)"
AN_ARRAY = "TransformObservation(env, function, space)"
WORKS = ""
Row = tuple[spaces.Space[Any], tuple[str, str, str, str]]
"""A space, and per column the remedy of the error, empty where it works."""


def choices(space: spaces.Space[Any]) -> Row:
    """Several choices at once."""
    return space, (WORKS, "Use PPO", "Use PPO", WORKS)


def numbers(space: spaces.Space[Any]) -> Row:
    return space, (WORKS, "Use PPO", WORKS, WORKS)


def refused(space: spaces.Space[Any], remedy: str) -> Row:
    return space, (remedy, remedy, remedy, WORKS)


ACTIONS: Mapping[str, Row] = {
    "`Discrete(n)`": (spaces.Discrete(3), (WORKS, WORKS, "Use DQN or PPO", WORKS)),
    "`Discrete(n, start=...)`": (spaces.Discrete(3, start=-2), (WORKS, WORKS, "Use DQN or PPO", WORKS)),
    "`MultiDiscrete`": choices(spaces.MultiDiscrete([2, 3])),
    "`MultiDiscrete(start=...)`": choices(spaces.MultiDiscrete([2, 3], start=[1, -4])),
    "`MultiDiscrete` of two axes": choices(spaces.MultiDiscrete(np.array([[2, 3], [3, 2]]))),
    "`MultiBinary`": choices(spaces.MultiBinary(3)),
    "`MultiBinary` of two axes": choices(spaces.MultiBinary((2, 2))),
    "`Box`": numbers(spaces.Box(-2.0, 5.0, (2,), np.float32)),
    "`Box` of float64": numbers(spaces.Box(-2.0, 5.0, (2,), np.float64)),
    "`Box` without an axis": numbers(spaces.Box(-2.0, 5.0, (), np.float32)),
    "`Box` of two axes": numbers(spaces.Box(-2.0, 5.0, (2, 2), np.float32)),
    "`Box` with one bound": (spaces.Box(0.0, np.inf, (2,), np.float32), (WORKS, "Use PPO", FINITE, WORKS)),
    "`Box` without bounds": (spaces.Box(-np.inf, np.inf, (2,), np.float32), (WORKS, "Use PPO", FINITE, WORKS)),
    "`Box` bounded by float32's largest number": (
        spaces.Box(-3.4e38, 3.4e38, (2,), np.float32),
        (WORKS, "Use PPO", FINITE, WORKS),
    ),
    "`Box` more than 1e6 wide": (spaces.Box(-1e7, 1e7, (2,), np.float32), (WORKS, "Use PPO", FINITE, WORKS)),
    "`Box` of whole numbers": refused(spaces.Box(0, 5, (2,), np.int32), CHOICES),
    "`Dict`": refused(spaces.Dict(a=spaces.Discrete(2), b=VECTOR), ONE_ARRAY),
    "`Tuple`": refused(spaces.Tuple((spaces.Discrete(2), VECTOR)), ONE_ARRAY),
    "`Text`": refused(spaces.Text(3), ONE_ARRAY),
    "`Sequence`": refused(spaces.Sequence(spaces.Discrete(3)), ONE_ARRAY),
    "`Graph`": refused(spaces.Graph(VECTOR, None), ONE_ARRAY),
    "`OneOf`": refused(spaces.OneOf([spaces.Discrete(2), VECTOR]), ONE_ARRAY),
}


def seen(space: spaces.Space[Any]) -> Row:
    return space, (WORKS, WORKS, WORKS, WORKS)


def on_axes(space: spaces.Space[Any]) -> Row:
    return space, (WORKS, WORKS, "FlattenObservation", WORKS)


OBSERVATIONS: Mapping[str, Row] = {
    "`Box`": seen(VECTOR),
    "`Box` without bounds": seen(spaces.Box(-np.inf, np.inf, (3,), np.float32)),
    "`Box` of float64": seen(spaces.Box(-1.0, 1.0, (3,), np.float64)),
    "`Box` of whole numbers": seen(spaces.Box(0, 9, (3,), np.int64)),
    "`Box` of bool": seen(spaces.Box(0, 1, (3,), bool)),
    "`Box` without an axis": seen(spaces.Box(-1.0, 1.0, (), np.float32)),
    "`Box` of two axes": on_axes(spaces.Box(-1.0, 1.0, (2, 3), np.float32)),
    "Image, 36 x 36 pixels and more": on_axes(spaces.Box(0, 255, (36, 36, 3), np.uint8)),
    "Stacked frames": on_axes(spaces.Box(0, 255, (4, 36, 36), np.uint8)),
    "Smaller image, or a grid of bytes": refused(spaces.Box(0, 255, (7, 7, 3), np.uint8), "FlattenObservation"),
    "`Discrete`": seen(spaces.Discrete(4, start=1)),
    "`MultiDiscrete`": seen(spaces.MultiDiscrete([2, 3])),
    "`MultiBinary`": seen(spaces.MultiBinary(3)),
    "`Dict` and `Tuple` of these": seen(spaces.Dict(a=VECTOR, b=spaces.Tuple((spaces.Discrete(2), VECTOR)))),
    "`Dict` with `Text` in it": refused(spaces.Dict(a=VECTOR, words=spaces.Text(3)), "FilterObservation(env, ['a'])"),
    "`Text`": refused(spaces.Text(3), AN_ARRAY),
    "`Sequence`": refused(spaces.Sequence(spaces.Discrete(3)), AN_ARRAY),
    "`Graph`": refused(spaces.Graph(VECTOR, None), AN_ARRAY),
    "`OneOf`": refused(spaces.OneOf([spaces.Discrete(2), VECTOR]), AN_ARRAY),
}


class Spaced(gym.Env):
    """Observations at random; it accepts nothing but actions of its space. Seven steps an episode."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.now = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.now = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        action = np.asarray(action) if isinstance(self.action_space, spaces.Box) else action  # of a vector's, a number
        assert self.action_space.contains(action), f"{action!r} is not of {self.action_space}"
        self.now += 1
        return self.observation_space.sample(), 1.0, False, self.now == 7, {}


class Picture(gym.Env):
    """A picture at random, which can be drawn; seven steps an episode."""

    observation_space = spaces.Box(0, 255, PIXELS, np.uint8)
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.now = render_mode, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.now = 0
        return self.render(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.now += 1
        return self.render(), 1.0, False, self.now == 7, {}

    def render(self) -> Any:
        return self.np_random.integers(0, 256, PIXELS, np.uint8)


# --- wrappers ---

NOT_SHARED = "no held-out episodes, and a warning: `normalize_observations=True`, `normalize_rewards=True`"
SAME = "works; held-out copies are the same"
Wrap = Callable[[gym.Env], gym.Env]

CARTPOLE, PENDULUM, PICTURE = "CartPole-v1", "Pendulum-v1", "Picture-v0"
LIMITS = (np.float32(-1.0), np.float32(1.0))
WRAPPERS: Mapping[str, tuple[str, Wrap, str]] = {
    "AddRenderObservation": (PICTURE, lambda env: wrappers.AddRenderObservation(env, render_only=True), SAME),
    "AddWhiteNoise": (PICTURE, lambda env: wrappers.AddWhiteNoise(env, 0.5), SAME),
    "Autoreset": (CARTPOLE, wrappers.Autoreset, SAME),
    "ClipAction": (PENDULUM, wrappers.ClipAction, SAME),
    "ClipReward": (CARTPOLE, lambda env: wrappers.ClipReward(env, -1.0, 0.5), SAME),
    "DelayObservation": (CARTPOLE, lambda env: wrappers.DelayObservation(env, 2), SAME),
    "DiscretizeAction": (PENDULUM, lambda env: wrappers.DiscretizeAction(env, 3), SAME),
    "DiscretizeObservation": (PENDULUM, lambda env: wrappers.DiscretizeObservation(env, 3), SAME),
    "DtypeObservation": (CARTPOLE, lambda env: wrappers.DtypeObservation(env, np.float64), SAME),
    "FilterObservation": (CARTPOLE, lambda env: wrappers.FilterObservation(_named(env), ["a"]), SAME),
    "FlattenObservation": (PICTURE, wrappers.FlattenObservation, SAME),
    "FrameStackObservation": (CARTPOLE, lambda env: wrappers.FrameStackObservation(env, 3), SAME),
    "GrayscaleObservation": (PICTURE, wrappers.GrayscaleObservation, SAME),
    "MaxAndSkipObservation": (PICTURE, lambda env: wrappers.MaxAndSkipObservation(env, 2), SAME),
    "NormalizeObservation": (CARTPOLE, wrappers.NormalizeObservation, NOT_SHARED),
    "NormalizeReward": (CARTPOLE, wrappers.NormalizeReward, NOT_SHARED),
    "ObstructView": (PICTURE, lambda env: wrappers.ObstructView(env, 0.5, 8), SAME),
    "OrderEnforcing": (CARTPOLE, wrappers.OrderEnforcing, SAME),
    "PassiveEnvChecker": (CARTPOLE, wrappers.PassiveEnvChecker, SAME),
    "RecordEpisodeStatistics": (CARTPOLE, wrappers.RecordEpisodeStatistics, SAME),
    "RenderCollection": (PICTURE, wrappers.RenderCollection, SAME),
    "RepeatAction": (CARTPOLE, lambda env: wrappers.RepeatAction(env, 2), SAME),
    "RescaleAction": (PENDULUM, lambda env: wrappers.RescaleAction(env, *LIMITS), SAME),
    "RescaleObservation": (PENDULUM, lambda env: wrappers.RescaleObservation(env, *LIMITS), SAME),
    "ReshapeObservation": (CARTPOLE, lambda env: wrappers.ReshapeObservation(env, (2, 2)), SAME),
    "ResizeObservation": (PICTURE, lambda env: wrappers.ResizeObservation(env, (40, 40)), SAME),
    "StickyAction": (CARTPOLE, lambda env: wrappers.StickyAction(env, 0.5), SAME),
    "TimeAwareObservation": (CARTPOLE, wrappers.TimeAwareObservation, SAME),
    "TimeLimit": (CARTPOLE, lambda env: wrappers.TimeLimit(env, 5), SAME),
    "TransformAction": (CARTPOLE, lambda env: wrappers.TransformAction(env, _flipped, env.action_space), SAME),
    "TransformObservation": (CARTPOLE, lambda env: _named(env), SAME),
    "TransformReward": (CARTPOLE, lambda env: wrappers.TransformReward(env, _doubled), SAME),
}
ELSEWHERE = {
    "AtariPreprocessing": "with a game, in tests/test_extras.py",
    "ArrayConversion": "needs the package array-api-compat",
    "JaxToNumpy": "needs jax",
    "JaxToTorch": "needs jax",
    "NumpyToTorch": "needs the package array-api-compat",
    "RecordVideo": "needs moviepy",
    "HumanRendering": "needs a screen",
}
"""Wrappers that are not in the table."""


def _named(env: gym.Env) -> gym.Env:
    space = spaces.Dict(a=env.observation_space, b=env.observation_space)
    return wrappers.TransformObservation(env, _twice, space)


def _twice(observation: Any) -> Any:
    return {"a": observation, "b": observation}


def _flipped(action: Any) -> Any:
    return 1 - action


def _doubled(reward: Any) -> Any:
    return 2 * reward


# --- the page ---


def space_table(rows: Mapping[str, Row], head: str) -> str:
    lines = [f"| {head} | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, (_, cells) in rows.items():
        words = [f"refused at the constructor: `{remedy}`" if "(" in remedy else _cell(remedy) for remedy in cells]
        lines.append(f"| {name} | {' | '.join(words)} |")
    return "\n".join(lines)


def _cell(remedy: str) -> str:
    return f"refused at the constructor: {remedy}" if remedy else "works"


def wrapper_table() -> str:
    lines = ["| Wrapper | Training and held-out episodes |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {cell} |" for name, (_, _, cell) in WRAPPERS.items())])


def written(text: str) -> str:
    """Return the page's text with the tables in place."""
    tables = {
        "action spaces": space_table(ACTIONS, "Actions"),
        "observation spaces": space_table(OBSERVATIONS, "Observations"),
        "wrappers": wrapper_table(),
    }
    for name, table in tables.items():
        pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- end of {name} -->)", re.DOTALL)
        text = pattern.sub(lambda _, table=table: table, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
