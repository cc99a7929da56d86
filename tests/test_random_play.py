"""Random play counts what an environment does, and stops where it raises or is slow."""

import itertools
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix._random_play import Play, differs, play


class Counting(gym.Env):
    """Three steps an episode; two of three actions are allowed, and others raise."""

    observation_space = gym.spaces.Dict({"at": gym.spaces.Discrete(9), "word": gym.spaces.Text(3)})
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.at = 0
        return {"at": 0, "word": "abc"}, {"action_mask": np.array([True, False, True])}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        if action == 1:
            raise ValueError("not allowed")
        self.at += 1
        seen = {"at": self.at, "word": "abc"}
        return seen, float(self.at), False, self.at == 3, {"action_mask": np.array([True, False, True])}


def test_steps_episodes_and_masks_are_counted() -> None:
    found = play(Counting(), 7)
    assert (found.lengths, found.returns, found.n_truncated, found.n_resets) == ([3, 3], [6.0, 6.0], 2, 3)
    assert (len(found.rewards), len(found.observations), found.has_masks, found.failure) == (7, 10, True, "")


def test_what_raises_ends_the_play_and_is_told() -> None:
    class Bare(Counting):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
            return super().reset(seed=seed)[0], {}

    class Lost(Counting):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
            raise KeyError("map")

    assert play(Bare(), 99).failure == "step raised ValueError: not allowed"
    assert play(Lost(), 99).failure == "reset raised KeyError: 'map'"


def test_a_slow_environment_is_left_after_some_seconds() -> None:
    clock = itertools.count().__next__
    assert len(play(Counting(), 1_000, clock=clock, seconds=20).rewards) < 10


def test_plays_of_structures_are_compared_by_their_leaves() -> None:
    assert not differs(play(Counting(), 5), play(Counting(), 5))
    assert differs(play(Counting(), 5), play(Counting(), 6))

    class Other(Counting):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
            seen, *rest = super().step(action)
            return ({**seen, "word": "xyz"}, *rest)

    assert differs(play(Counting(), 5), play(Other(), 5))


def test_actions_repeat_where_a_reset_makes_another_space() -> None:
    class Renewing(Counting):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
            self.action_space = gym.spaces.Box(-1.0, 1.0)  # as highway-env does
            return super().reset(seed=seed)[0], {}

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
            seen, _, terminated, truncated, info = super().step(0)
            return seen, float(action[0]), terminated, truncated, info

    assert not differs(play(Renewing(), 5), play(Renewing(), 5))


def test_plays_that_ran_out_of_time_are_compared_as_far_as_both_go() -> None:
    def slow(env: gym.Env, seconds: float) -> Play:
        return play(env, 1_000, clock=itertools.count().__next__, seconds=seconds)

    short, long = slow(Counting(), 20), slow(Counting(), 40)
    assert len(short.rewards) < len(long.rewards) < 1_000
    assert not differs(short, long)

    class Rising(Counting):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
            seen, reward, terminated, truncated, info = super().step(action)
            return seen, reward + 1, terminated, truncated, info

    assert differs(short, slow(Rising(), 40))
