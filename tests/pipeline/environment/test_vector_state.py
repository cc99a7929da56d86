"""Bringing a vector back to where it was: by its arrays, or by playing its episodes again."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from tensor_optix.pipeline.environment.episodes import episode_seed
from tensor_optix.pipeline.environment.vector_state import (
    next_seeds,
    replay_all,
    restore_arrays,
    saved_arrays,
    seeded,
)


def cartpoles() -> Any:
    return gym.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")


def test_a_vector_of_arrays_goes_on_bit_for_bit_over_resets() -> None:
    env, again = cartpoles(), cartpoles()
    env.reset(seed=4)
    for n in range(20):
        env.step(np.array([n % 2, 1, 0]))
    restore_arrays(again, json.loads(json.dumps(saved_arrays(env))))
    for n in range(40):  # long enough for every pole to fall, and new ones to be drawn
        ours, theirs = env.step(np.full(3, n % 3 % 2)), again.step(np.full(3, n % 3 % 2))
        assert all(np.array_equal(a, b) for a, b in zip(ours[:4], theirs[:4], strict=True))


def test_before_the_first_reset_there_is_nothing_to_save() -> None:
    assert saved_arrays(cartpoles()) is None


def test_a_vector_that_is_more_than_arrays_is_not_saved_by_them() -> None:
    env = SyncVectorEnv([lambda: gym.make("CartPole-v1")])
    env.reset(seed=0)
    assert saved_arrays(env) is None
    env.close()


class TestReplay:
    def vector(self) -> SyncVectorEnv:
        return SyncVectorEnv([seeded(lambda: gym.make("Pendulum-v1"))] * 2)

    def test_each_environment_is_brought_back_to_its_episode(self) -> None:
        env, again = self.vector(), self.vector()
        env.reset(seed=7)
        env.reset(options={"reset_mask": np.array([True, False])})
        actions = np.array([[[0.5], [1.0]], [[-0.5], [0.25]]], np.float32)  # two steps of both
        for step in actions:
            observations, *_ = env.step(step)
        found = replay_all(again, 7, list(actions.swapaxes(0, 1)), [1, 0], lambda action: action)
        assert found is not None
        assert np.array_equal(np.stack(found), observations)
        following = np.array([[0.1], [0.2]], np.float32)
        assert np.array_equal(again.step(following)[0], env.step(following)[0])
        env.close()
        again.close()

    def test_actions_are_mapped_as_the_pipeline_maps_them(self) -> None:
        env, again = self.vector(), self.vector()
        env.reset(seed=7)
        observations, *_ = env.step(np.array([[1.0], [2.0]], np.float32))
        found = replay_all(again, 7, [np.array([[0.5]]), np.array([[1.0]])], [0, 0], lambda action: action * 2)
        assert found is not None
        assert np.allclose(np.stack(found), observations)
        env.close()
        again.close()

    def test_where_one_has_done_too_much_nobody_is_brought_back(self) -> None:
        env = self.vector()
        assert replay_all(env, 7, [np.zeros((1, 1)), None], [0, 0], lambda action: action) is None
        env.close()

    def test_where_one_has_ended_before_nobody_is_brought_back(self) -> None:
        env = SyncVectorEnv([seeded(lambda: gym.make("CartPole-v1"))] * 2)
        too_many = [np.ones(50, np.int64), np.ones(1, np.int64)]
        assert replay_all(env, 7, too_many, [0, 0], lambda action: action) is None
        env.close()


@pytest.mark.parametrize("numbers", [[0, 0], [3, 9]])
def test_the_episodes_after_those_that_are_lost_have_their_own_seeds(numbers: list[int]) -> None:
    first, second = numbers
    assert next_seeds(5, numbers) == [episode_seed(5, first + 1), episode_seed(6, second + 1)]
