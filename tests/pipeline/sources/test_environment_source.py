import itertools
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import BatchPipeline, HyperparamSet, RLOptimizer, TFPPOAgent, make_agent
from tensor_optix.errors import BadDataError, ContractError, EnvironmentNotFoundError, FeedFatalError
from tensor_optix.pipeline.environment.episodes import episode_seed
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tests.fakes.environments import Mined, Sapper, Structured
from tests.fakes.windows import assert_same
from tests.helpers import NumpyAgent


class Reseeded(gym.Wrapper[Any, Any, Any, Any]):
    """Gives episode k the seed that a seeded pipeline gives it."""

    def __init__(self, env: gym.Env[Any, Any], seed: int) -> None:
        super().__init__(env)
        self._root, self._number = seed, -1

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._number += 1
        return self.env.reset(seed=episode_seed(self._root, self._number), options=options)


def learned(pipeline: Any, agent: Any, count: int) -> list[Any]:
    windows = []
    for window in itertools.islice(pipeline.episodes(), count):
        windows.append(window)
        agent.learn(window)
    pipeline.teardown()
    return windows


@pytest.mark.parametrize("kind", ["numpy", pytest.param("tf", marks=pytest.mark.slow)])
def test_the_windows_are_those_of_a_batch_pipeline(kind: str) -> None:
    def make() -> Any:
        if kind == "numpy":
            return NumpyAgent(seed=3)
        keras.utils.set_random_seed(0)
        actor, critic = (
            keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(n)])
            for n in (2, 1)
        )
        params = HyperparamSet({"n_epochs": 1})
        return TFPPOAgent(actor, critic, keras.optimizers.Adam(), params, seed=3, compile=False)

    ours, theirs = make(), make()
    live = LivePipeline(EnvironmentSource("CartPole-v1", seed=5), ours, LivePipeline.every_n_steps(64))
    batch = BatchPipeline(Reseeded(gym.make("CartPole-v1"), 5), theirs, window_size=64, seed=5)
    pairs = list(zip(learned(live, ours, 20), learned(batch, theirs, 20), strict=True))
    assert sum(len(window.completed) for window, _ in pairs) > 10
    for window, expected in pairs:
        assert_same(window, expected)


@pytest.mark.parametrize(("env", "agent"), [(Mined, Sapper), (Structured, NumpyAgent)])
def test_masks_and_structures_are_the_same_too(env: Any, agent: Any) -> None:
    live = LivePipeline(EnvironmentSource(env()), agent(), LivePipeline.every_n_steps(30))
    batch = BatchPipeline(env(), agent(), window_size=30)
    for ours, theirs in zip(itertools.islice(live.episodes(), 4), batch.episodes(), strict=False):
        assert_same(ours, theirs)
    live.teardown()


def test_boxes_are_rescaled_alike() -> None:
    class Noisy(NumpyAgent):
        action_range = (-1.0, 1.0)

        def act(self, observation: Any) -> Any:
            return self.rng.normal(size=1).astype(np.float32)

    live = LivePipeline(EnvironmentSource("Pendulum-v1", seed=1), Noisy(), LivePipeline.every_n_steps(150))
    batch = BatchPipeline(Reseeded(gym.make("Pendulum-v1"), 1), Noisy(), window_size=150)
    for ours, theirs in zip(itertools.islice(live.episodes(), 4), batch.episodes(), strict=False):
        assert_same(ours, theirs)
    live.teardown()


def test_a_seed_may_come_later_and_does_not_replace_one() -> None:
    def first(source: EnvironmentSource, seed: int | None) -> bytes:
        pipeline = LivePipeline(source, NumpyAgent(), LivePipeline.every_n_steps(5), seed=seed)
        window = next(pipeline.episodes())
        pipeline.teardown()
        return window.observations.tobytes()

    assert first(EnvironmentSource("CartPole-v1"), 4) == first(EnvironmentSource("CartPole-v1", seed=4), 9)


class Failing(gym.Env[Any, Any]):
    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, gives: Any) -> None:
        self.gives, self.is_closed, self.steps = gives, False, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 3:
            if isinstance(self.gives, Exception):
                raise self.gives
            return np.full(1, self.gives, np.float32), 0.0, False, False, {}
        return np.zeros(1, np.float32), 1.0, False, False, {}

    def close(self) -> None:
        self.is_closed = True


def test_an_environment_that_raises_is_heard_of() -> None:
    env = Failing(ZeroDivisionError("in step"))
    with pytest.raises(FeedFatalError, match="ZeroDivisionError: in step"):
        next(LivePipeline(EnvironmentSource(env), NumpyAgent()).episodes())
    assert env.is_closed


def test_a_bad_observation_does_not_leave_it_waiting_for_an_action() -> None:
    pipeline = LivePipeline(EnvironmentSource(Failing(np.nan)), NumpyAgent())
    with pytest.raises(BadDataError, match="safe_action"):
        next(pipeline.episodes())
    pipeline.teardown()
    pipeline = LivePipeline(
        EnvironmentSource(Failing(np.nan)), NumpyAgent(), LivePipeline.every_n_steps(5), safe_action=0
    )
    window = next(pipeline.episodes())
    assert window.metadata["quarantined"] == window.metadata["safe_actions"] == 1
    pipeline.teardown()


def test_it_closes_its_environment_and_can_be_used_again() -> None:
    env = Failing(0.0)
    pipeline = LivePipeline(EnvironmentSource(env), NumpyAgent(), LivePipeline.every_n_steps(5))
    next(pipeline.episodes())
    pipeline.teardown()
    assert env.is_closed
    assert next(pipeline.episodes()).episode_id == 1
    pipeline.teardown()


def test_what_is_no_environment() -> None:
    with pytest.raises(EnvironmentNotFoundError, match="CartPole-v1"):
        EnvironmentSource("CartPoole-v1")
    with pytest.raises(ContractError, match="Gymnasium"):
        EnvironmentSource(3)  # type: ignore[arg-type]


def test_the_loop_runs_on_a_feed(tmp_path: Path) -> None:
    pipeline = LivePipeline(EnvironmentSource("CartPole-v1"), None, LivePipeline.every_n_steps(100))
    agent = NumpyAgent()
    report = RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, max_episodes=4, seed=0).run()
    assert report.env_steps == 400
    assert agent.learned == [0, 1, 2, 3]
    assert not [thread for thread in threading.enumerate() if thread.name == "tensor-optix-feed"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ppo_solves_cartpole_through_a_feed() -> None:
    agent = make_agent("CartPole-v1", "ppo", "torch", seed=0)
    pipeline = LivePipeline(EnvironmentSource("CartPole-v1", seed=0), agent, LivePipeline.every_n_steps(2048))
    returns: list[float] = []
    for window in itertools.islice(pipeline.episodes(), 150):
        agent.learn(window)
        returns += [episode.total_return for episode in window.completed or ()]
        if len(returns) >= 20 and np.mean(returns[-20:]) >= 475:
            break
    pipeline.teardown()
    print(
        f"mean return of 20 episodes {np.mean(returns[-20:]):.1f} after {window.episode_id + 1} windows of 2048 steps"
    )
    assert np.mean(returns[-20:]) >= 475
