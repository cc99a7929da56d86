"""The environments of the extras: they install, fit what the factory builds, and are learned from."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():  # SWIG's types warn while they are made, which as an error would end the process
    warnings.simplefilter("ignore")
    import Box2D  # noqa: F401

from tensor_optix import BatchPipeline, RLOptimizer, VectorBatchPipeline, make_agent
from tensor_optix.pipeline.environment.copies import rebuild
from tensor_optix.pipeline.environment.environment import make_environment
from tests.fakes.built_in import torch_now_keras_in_the_soak

SMALL = {"batch_size": 16, "learning_starts": 16, "replay_capacity": 2000, "updates_per_step": 0.25}


def test_an_atari_game_is_preprocessed_and_can_be_made_again() -> None:
    env = make_environment("ALE/Pong-v5")
    assert env.observation_space.shape == (4, 84, 84)
    assert env.observation_space.dtype == np.uint8
    again = rebuild(env)()
    assert again.observation_space == env.observation_space
    observation, _ = again.reset(seed=0)
    assert np.asarray(observation).dtype == np.uint8


@torch_now_keras_in_the_soak
@pytest.mark.parametrize(
    ("env", "algorithm", "params"),
    [
        ("ALE/Pong-v5", "ppo", {"n_epochs": 1, "minibatch_size": 16}),
        ("ALE/Pong-v5", "dqn", SMALL),
        ("HalfCheetah-v5", "sac", SMALL),
        ("LunarLander-v3", "ppo", {}),
    ],
)
def test_they_are_learned_from(
    tmp_path: Path, framework: str, env: str, algorithm: str, params: dict[str, Any]
) -> None:
    agent = make_agent(env, algorithm, framework, params, seed=0, net_arch=(16,))
    pipeline = BatchPipeline(env, window_size=32)
    report = RLOptimizer(agent, pipeline, val_pipeline=None, checkpoint_dir=tmp_path, max_episodes=2, seed=0).run()
    assert report.env_steps == 64


def test_stacked_frames_are_remembered_once() -> None:
    agent = make_agent("ALE/Pong-v5", "dqn", "torch", SMALL, seed=0, net_arch=(16,))
    window = next(iter(BatchPipeline("ALE/Pong-v5", agent, window_size=120, seed=0).episodes()))
    agent.learn(window)
    memory = agent._off_policy.learner._memory  # type: ignore[attr-defined]
    assert memory._rings["observations"].shape == (1, 2000, 84, 84)
    batch = memory.sample(1, 200, np.random.default_rng(0))
    stored = {o.tobytes() + n.tobytes() for o, n in zip(window.observations, window.next_observations, strict=True)}
    for o, n in zip(batch["observations"][0], batch["next_observations"][0], strict=True):
        assert o.tobytes() + n.tobytes() in stored


def test_games_are_stepped_together() -> None:
    agent = make_agent("ALE/Pong-v5", framework="torch", seed=0, net_arch=(8,))
    window = next(iter(VectorBatchPipeline(("ALE/Pong-v5", 2), agent, window_size=4, seed=0).episodes()))
    assert window.observations.shape == (8, 4, 84, 84)
    assert window.n_envs == 2
