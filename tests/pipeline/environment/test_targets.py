from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.targets import reward_threshold_of, vector_reward_threshold_of
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline


def cart_pole() -> gym.Env:
    return gym.make("CartPole-v1")


def test_the_threshold_is_that_of_the_registered_environment() -> None:
    assert reward_threshold_of(cart_pole()) == 475.0
    assert reward_threshold_of(gym.make("Pendulum-v1")) is None
    bare = cart_pole().unwrapped
    bare.spec = None
    assert reward_threshold_of(bare) is None


@pytest.mark.parametrize(
    "wrap", [gym.wrappers.NormalizeReward, lambda env: gym.wrappers.TransformReward(env, lambda r: 0.1 * r)]
)
def test_it_says_nothing_of_rescaled_rewards(wrap: Any) -> None:
    assert reward_threshold_of(gym.wrappers.RecordEpisodeStatistics(wrap(cart_pole()))) is None


def test_a_vector_has_that_of_its_environments() -> None:
    made = [
        (SyncVectorEnv([cart_pole] * 2), [cart_pole] * 2, 475.0),
        (gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"), None, 475.0),
        (AsyncVectorEnv([cart_pole]), ("CartPole-v1", 1), 475.0),
        (AsyncVectorEnv([cart_pole]), [cart_pole], None),
    ]
    for env, env_fns, threshold in made:
        assert vector_reward_threshold_of(env, env_fns) == threshold
        env.close()


def test_pipelines_know_it() -> None:
    assert BatchPipeline("CartPole-v1").reward_threshold == 475.0
    assert VectorBatchPipeline(("CartPole-v1", 2)).reward_threshold == 475.0
    assert BatchPipeline("CartPole-v1").max_return is None
