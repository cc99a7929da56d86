"""A slice of data is played whole and greedily, and its episodes are no draws of chance."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.core.base_pipeline import Boundable, CutsEpisodes, PlaysSeeds
from tensor_optix.core.faults import PlayStoppedError
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline.slice_pipeline import SlicePipeline
from tests.helpers import TabularAgent


class Rows(gym.Env):
    """Counts its rows; how the first is chosen is left to a subclass."""

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32), gym.spaces.Discrete(2)
    length = 30

    def first(self) -> int:
        return 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.at = self.first()
        return np.array([self.at], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.at += 1
        return np.array([self.at], np.float32), float(action), False, self.at == self.length, {}


class Anywhere(Rows):
    def first(self) -> int:
        return int(self.np_random.integers(20))


def greedy() -> TabularAgent:
    return TabularAgent([0.4, 0.6])


def test_a_window_is_one_greedy_pass() -> None:
    pipeline = SlicePipeline(Rows, greedy())
    pipeline.setup()
    windows = pipeline.episodes()
    for _ in range(2):
        window = next(windows)
        assert window.observations[:, 0].tolist() == list(range(30))
        assert [(e.total_return, e.length) for e in window.completed_episodes()] == [(30.0, 30)]
    pipeline.teardown()


def test_more_episodes_have_seeds_of_their_own_that_repeat() -> None:
    first, again = (
        next(iter(SlicePipeline(Anywhere, greedy(), n_episodes=5, seed=3).episodes())).observations for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert len(first) != 150


def test_the_newest_agent_acts() -> None:
    pipeline = SlicePipeline(Rows)
    windows = pipeline.episodes()
    for probs, expected in (([0.4, 0.6], 30.0), ([0.6, 0.4], 0.0)):
        pipeline.agent = TabularAgent(probs)
        assert next(windows).total_reward == expected


def test_no_pass_is_cut_and_no_seed_makes_it_another_one() -> None:
    class Long(Rows):
        length = 51_000

    pipeline = SlicePipeline(Long, greedy())
    pipeline.bound(200, lambda: False)
    assert next(pipeline.episodes()).length == 51_000
    assert isinstance(pipeline, Boundable)
    assert not isinstance(pipeline, PlaysSeeds | CutsEpisodes)


def test_it_is_left_between_two_steps_and_goes_on_where_it_stood() -> None:
    pipeline = SlicePipeline(Anywhere, greedy(), seed=1)
    before = pipeline.stream_state()
    expected = next(pipeline.episodes()).observations
    pipeline.restore_stream(before)
    pipeline.bound(None, lambda: True)
    with pytest.raises(PlayStoppedError):
        next(pipeline.episodes())
    pipeline.restore_stream(before)
    pipeline.bound(None, lambda: False)
    np.testing.assert_array_equal(next(pipeline.episodes()).observations, expected)


def test_a_window_needs_an_episode() -> None:
    with pytest.raises(InvalidArgumentError, match="n_episodes must be a whole number of at least 1, but got 0"):
        SlicePipeline(Rows, n_episodes=0)
