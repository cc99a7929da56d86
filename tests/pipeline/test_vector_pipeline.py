import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from tensor_optix import RLOptimizer, VectorBatchPipeline, make_agent
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import EnvironmentNotFoundError, InvalidArgumentError, SpaceError
from tests.helpers import NumpyAgent


class CountingEnv(gym.Env):
    """Observation = (number of the environment, its global step); reward = action; ends after 3 to 9 steps.

    Every other episode is cut by a time limit, so that both ends occur.
    """

    observation_space = gym.spaces.Box(-1.0, 1e9, (2,), np.float64)
    action_space = gym.spaces.Discrete(5)

    def __init__(self, number: int) -> None:
        self.number = number
        self.steps = self.episodes = self.left = 0

    def observe(self) -> np.ndarray:
        return np.array([self.number, self.steps], np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = 3 + (self.number * 5 + self.episodes) % 7
        self.episodes += 1
        self.steps += 1
        return self.observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        self.left -= 1
        ended, cut = self.left == 0, self.episodes % 2 == 0
        return self.observe(), float(action), ended and not cut, ended and cut, {"step": self.steps}


class ByStepAgent(NumpyAgent):
    """Its action depends on the observation alone, so that transitions tell which observation they came from."""

    def act(self, observation: Any) -> int:
        return int(observation[0] * 3 + observation[1]) % 5


def makers(n: int) -> list[Any]:
    return [lambda i=i: CountingEnv(i) for i in range(n)]


def vector(n: int, mode: AutoresetMode, is_async: bool) -> VectorEnv:
    return (AsyncVectorEnv if is_async else SyncVectorEnv)(makers(n), autoreset_mode=mode)


Transition = tuple[tuple[float, ...], int, float, tuple[float, ...], bool, bool]


def transitions(windows: list[EpisodeData]) -> dict[int, list[Transition]]:
    found: dict[int, list[Transition]] = {}
    for window in windows:
        rows = zip(
            window.observations, window.actions, window.rewards, window.next_observations, window.terminated,
            window.truncated, strict=True,
        )  # fmt: skip
        for o, a, r, n, te, tr in rows:
            found.setdefault(int(o[0]), []).append((tuple(o), int(a), float(r), tuple(n), bool(te), bool(tr)))
    return found


def lived(number: int, steps: int) -> list[Transition]:
    """The true transitions of one environment, by a plain loop."""
    env, agent, found = CountingEnv(number), ByStepAgent(), []
    observation, _ = env.reset()
    for _ in range(steps):
        action = agent.act(observation)
        following, reward, terminated, truncated, _ = env.step(action)
        found.append((tuple(observation), action, reward, tuple(following), terminated, truncated))
        observation = env.reset()[0] if terminated or truncated else following
    return found


def windows_of(pipeline: VectorBatchPipeline, n: int) -> list[EpisodeData]:
    found = list(itertools.islice(pipeline.episodes(), n))
    pipeline.teardown()
    return found


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("is_async", [False, True])
def test_every_autoreset_mode_gives_exactly_the_transitions_that_were_lived(
    mode: AutoresetMode, is_async: bool
) -> None:
    pipeline = VectorBatchPipeline(vector(4, mode, is_async), ByStepAgent(), window_size=50)
    windows = windows_of(pipeline, 8)
    for number, found in transitions(windows).items():
        assert found == lived(number, 400), number
    assert len(transitions(windows)) == 4


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_completed_episodes_are_whole_across_windows(mode: AutoresetMode) -> None:
    windows = windows_of(VectorBatchPipeline(vector(3, mode, False), ByStepAgent(), window_size=7), 20)
    completed = sorted((e.length, e.total_return) for window in windows for e in window.completed or ())
    expected = []
    for number in range(3):
        length, total = 0, 0.0
        for _, _, reward, _, terminated, truncated in lived(number, 140):
            length, total = length + 1, total + reward
            if terminated or truncated:
                expected.append((length, total))
                length, total = 0, 0.0
    assert completed == sorted(expected)


def test_rows_are_env_major_and_segments_end_with_each_environment() -> None:
    window = windows_of(VectorBatchPipeline(makers(3), ByStepAgent(), window_size=5), 1)[0]
    assert window.n_envs == 3
    assert window.observations[:, 0].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert window.segment_ends()[[4, 9, 14]].all()


def test_one_forward_pass_per_step() -> None:
    class Counting(ByStepAgent):
        batches: list[int] = []

        def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
            self.batches.append(len(observations))
            return super().act_batch(observations)

    agent = Counting()
    windows_of(VectorBatchPipeline(makers(3), agent, window_size=6), 1)
    assert agent.batches == [3] * 6


def test_the_same_seed_repeats_the_stream() -> None:
    def stream(seed: int) -> np.ndarray:
        agent = make_agent("CartPole-v1", framework="torch", seed=0)
        return windows_of(VectorBatchPipeline(("CartPole-v1", 3), agent, window_size=40, seed=seed), 1)[0].observations

    np.testing.assert_array_equal(stream(1), stream(1))
    assert not np.array_equal(stream(1), stream(2))


def test_gymnasiums_own_vectorised_environment_is_taken_where_there_is_one() -> None:
    pipeline = VectorBatchPipeline(("CartPole-v1", 4), NumpyAgent())
    assert not isinstance(pipeline.env, SyncVectorEnv | AsyncVectorEnv)
    assert isinstance(VectorBatchPipeline(("Acrobot-v1", 2), NumpyAgent()).env, SyncVectorEnv)


def test_box_actions_are_rescaled_for_all_environments() -> None:
    agent = make_agent("Pendulum-v1", framework="torch", seed=0)
    window = windows_of(VectorBatchPipeline(("Pendulum-v1", 2), agent, window_size=10, seed=0), 1)[0]
    assert window.actions.shape == (20, 1)
    assert np.abs(window.actions).max() > 1.0  # the policy's own scale is kept for learning


def test_ppo_learns_from_it_with_validation(tmp_path: Any) -> None:
    agent = make_agent("CartPole-v1", framework="torch", seed=0, hyperparams={"learning_rate": 1e-3})
    pipeline = VectorBatchPipeline([lambda: gym.make("CartPole-v1")] * 8, window_size=256)
    report = RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, max_episodes=12, seed=0, val_episodes=3).run()
    assert report.env_steps == 12 * 8 * 256
    assert report.best_score > 150


class TestBadInput:
    @pytest.mark.parametrize("env_fns", [[], [3], "CartPole-v1", None, 5])
    def test_what_is_no_list_of_makers_is_refused(self, env_fns: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="env_fns must be functions"):
            VectorBatchPipeline(env_fns)

    def test_unknown_id_and_bad_number(self) -> None:
        with pytest.raises(EnvironmentNotFoundError, match="Did you mean 'CartPole-v1'"):
            VectorBatchPipeline(("CartPol-v1", 2))
        with pytest.raises(InvalidArgumentError, match="num_envs of at least 1"):
            VectorBatchPipeline(("CartPole-v1", 0))
        with pytest.raises(InvalidArgumentError, match="window_size"):
            VectorBatchPipeline(("CartPole-v1", 2), window_size=0)

    def test_different_spaces(self) -> None:
        with pytest.raises(SpaceError, match="same spaces"):
            VectorBatchPipeline([lambda: gym.make("CartPole-v1"), lambda: gym.make("Acrobot-v1")])

    def test_an_undeclared_autoreset_mode(self) -> None:
        env = SyncVectorEnv(makers(2))
        env.metadata = {}
        with pytest.raises(InvalidArgumentError, match="must declare metadata"):
            VectorBatchPipeline(env)

    def test_an_agent_that_does_not_fit(self) -> None:
        agent: BaseAgent = make_agent("Acrobot-v1", framework="torch", seed=0)
        with pytest.raises(Exception, match="cannot take observations"):
            VectorBatchPipeline(("CartPole-v1", 2), agent).setup()


class DyingEnv(CountingEnv):
    def step(self, action: int) -> Any:
        raise OSError(f"worker {self.number} died")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium prints the worker's traceback as warnings
def test_a_worker_that_raises_ends_the_stream_with_its_error() -> None:
    pipeline = VectorBatchPipeline([lambda: DyingEnv(7)] * 2, ByStepAgent(), window_size=4, async_envs=True)
    stream: Iterator[EpisodeData] = pipeline.episodes()
    with pytest.raises(OSError, match="worker 7 died"):
        next(stream)
    pipeline.teardown()
