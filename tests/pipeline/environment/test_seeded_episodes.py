"""Environments whose episodes have a seed of their own each: what a bad step, a failure and a bad reset come to."""

import numpy as np
import pytest

from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.pipeline.environment.episodes import BAD_RESETS, BAD_STEP, episode_seed
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tests.fakes.walk import Walk


class TestSeededEpisodes:
    def test_each_episode_has_its_seed_and_a_seed_begins_again(self) -> None:
        env = Walk()
        wrapped = SeededEpisodes(env)
        for seed in (5, None, None, 5):
            wrapped.reset(seed=seed)
        assert env.seeds == [5, episode_seed(5, 1), episode_seed(5, 2), 5]
        assert wrapped.episode_in_progress[0] == 0

    def test_without_a_seed_the_environment_chooses(self) -> None:
        env = Walk()
        SeededEpisodes(env).reset()
        assert env.seeds == [None]

    def test_a_good_step_is_passed_on(self) -> None:
        wrapped = SeededEpisodes(Walk())
        begun, info = wrapped.reset(seed=5)
        assert info == {"start": pytest.approx(begun[0])}
        observation, reward, terminated, truncated, info = wrapped.step(1)
        assert observation[0] == pytest.approx(begun[0] + 1.0)
        assert (reward, terminated, truncated, info) == (1.0, False, False, {})

    def test_a_bad_step_ends_the_episode_and_says_why(self) -> None:
        wrapped = SeededEpisodes(Walk(bad_at=2.0))
        wrapped.reset(seed=5)
        observation, reward, terminated, truncated, info = wrapped.step(3)
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert wrapped.observation_space.contains(observation)
        assert "reward" in info[BAD_STEP]

    def test_a_bad_reset_is_tried_again_with_the_next_seed_and_told(self) -> None:
        env = Walk(bad_resets=2)
        wrapped = SeededEpisodes(env)
        observation, info = wrapped.reset(seed=5)
        assert np.isfinite(observation).all()
        assert len(info[BAD_RESETS]) == 2
        assert env.seeds == [5, episode_seed(5, 1), episode_seed(5, 2)]
        assert wrapped.episode_in_progress[0] == 2

    def test_resets_that_stay_bad_end_and_leave_it_to_the_pipeline(self) -> None:
        env = Walk(bad_resets=99)
        observation, info = SeededEpisodes(env).reset(seed=5)
        assert len(env.seeds) == len(info[BAD_RESETS]) == MOST_IN_A_ROW
        assert env.observation_space.contains(observation)

    def test_an_episode_is_brought_back_by_its_number_and_actions(self) -> None:
        first = SeededEpisodes(Walk())
        first.reset(seed=5)
        first.reset()
        observation, *_ = first.step(3)
        again = SeededEpisodes(Walk())
        again.reset(seed=5)
        again.episode_in_progress = (1, [3])
        assert np.array_equal(again.replayed_observation, observation)
        assert np.array_equal(again.step(1)[0], first.step(1)[0])
        again.episode_in_progress = (1, [3] * 9)
        assert again.replayed_observation is None

    def test_errors_name_the_environment_and_not_what_is_around_it(self) -> None:
        env = Walk()
        assert str(SeededEpisodes(env)) == str(env)
