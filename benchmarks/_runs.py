"""Training runs of the suites that need more of a run than its report: in this process, with everything it kept."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.factory import make_agent, set_threads
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.presets import preset_for

FRAMEWORK = "tf"
"""The faster of the two on small networks."""
_TOGETHER = 25


def build(env: str, seed: int, **hyperparams: float) -> BaseAgent:
    """Return a PPO agent for `env` with the preset's hyper-parameters and some of one's own."""
    set_threads(FRAMEWORK, 1)
    preset = preset_for(env, "ppo")
    return make_agent(env, "ppo", FRAMEWORK, hyperparams={**preset.hyperparams, **hyperparams}, seed=seed)


@contextmanager
def training(
    env: str,
    agent: BaseAgent,
    seed: int,
    *,
    windows: int | None = None,
    optimizer: BaseOptimizer | None = None,
    callbacks: Callable[[Path], Sequence[LoopCallback]] = lambda folder: (),
    **options: Any,
) -> Iterator[RLOptimizer]:
    """Make a run with its folder, which is gone afterwards.

    Args:
        env: id of the environment.
        agent: the learner.
        seed: of the run.
        windows: train for exactly so many; None = until the loop calls it trained.
        optimizer: tunes; None = the default.
        callbacks: from the run's folder.
        options: of `RLOptimizer`.
    """
    with tempfile.TemporaryDirectory() as folder:
        # A run that is trained before goes on watching: its decisions are those of any run, and its steps are all used.
        fixed = {} if windows is None else {"max_episodes": windows, "on_converged": "watch"}
        yield RLOptimizer(
            agent,
            BatchPipeline(env, window_size=preset_for(env, "ppo").window_size),
            optimizer=optimizer,
            checkpoint_dir=folder,
            max_interval_episodes=2,
            callbacks=callbacks(Path(folder)),
            seed=seed,
            **{**fixed, **options},
        )


def true_returns(env: str, agent: BaseAgent, episodes: int, seed: int) -> list[float]:
    """Return what `agent` comes to, greedily, on so many fresh episodes."""
    normalizer = getattr(agent, "observation_normalizer", None)
    training = BatchPipeline(env, agent, normalize_observations=normalizer or False)
    pipeline = training.validation_pipeline(min(episodes, _TOGETHER), seed)
    assert isinstance(pipeline, ValidationPipeline)  # noqa: S101 - the suites' environments can be rebuilt
    returns: list[float] = []
    for window in pipeline.episodes():
        returns += [episode.total_return for episode in window.completed_episodes()]
        if len(returns) >= episodes:
            break
    pipeline.teardown()
    return returns[:episodes]


def random_mean(env: str, episodes: int, seed: int) -> float:
    """Return what uniformly random actions come to on so many episodes."""
    made = gym.make(env)
    made.action_space.seed(seed)
    total = 0.0
    for episode in range(episodes):
        made.reset(seed=seed + episode)
        is_over = False
        while not is_over:
            _, reward, terminated, truncated, _ = made.step(made.action_space.sample())
            total += float(reward)
            is_over = terminated or truncated
    made.close()
    return total / episodes


def true_mean(env: str, agent: BaseAgent, episodes: int, seed: int) -> float:
    """Return the mean of `true_returns`."""
    return float(np.mean(true_returns(env, agent, episodes, seed)))
