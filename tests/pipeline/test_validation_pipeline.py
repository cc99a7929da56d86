"""Whole greedy held-out episodes, stepped together."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.core.base_pipeline import CutsEpisodes
from tensor_optix.core.faults import CUT_EPISODES, EPISODE_LIMIT, SEEDS, PlayStoppedError
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError, ContractError, InvalidArgumentError, ModelShapeError
from tensor_optix.factory import make_agent
from tensor_optix.pipeline.environment.workers.isolated import IsolatedEnv
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tests.helpers import NumpyAgent, until


class Seeded(gym.Env):
    """Observation = (seed, step); an episode of seed s lasts 1 + s mod 7 steps; reward = action."""

    observation_space = spaces.Box(0.0, 1e9, (2,), np.float64)
    action_space = spaces.Discrete(10)

    def __init__(self) -> None:
        self.seeds: list[int | None] = []
        self.closed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.seed, self.now = int(seed or 0), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self.now <= self.seed % 7, "stepped after its end"
        self.now += 1
        over, limit = self.now == 1 + self.seed % 7, self.seed % 2 == 1
        return self._observe(), float(action), over and not limit, over and limit, {"seed": self.seed}

    def close(self) -> None:
        self.closed += 1

    def _observe(self) -> np.ndarray:
        return np.array([self.seed, self.now], np.float64)


class Watched(NumpyAgent):
    """Greedily the step number; it remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        notes: list[tuple[np.ndarray, bool]] = []
        self.notes = lambda: notes  # in a function, since an agent is validated on a copy of its attributes

    def act(self, observation: Any) -> int:
        raise AssertionError("validation asks act_batch")

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        self.notes().append((np.array(observations), deterministic))
        return np.asarray(observations)[:, 1].astype(np.int64)


def of(n: int, agent: NumpyAgent | None = None, seed: int | None = 0) -> ValidationPipeline:
    return ValidationPipeline([Seeded] * n, agent or Watched(), seed=seed)


class Meeting(Seeded):
    """A step is over when all of three have begun theirs: files tell, as each is in a process of its own."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__()
        self.folder, self.number = folder, number

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        (self.folder / f"{self.now}-{self.number}").touch()
        until(lambda: len(list(self.folder.glob(f"{self.now}-*"))) == 3)
        return super().step(action)


def assert_same(first: EpisodeData, second: EpisodeData) -> None:
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert first.completed == second.completed
    assert first.infos == second.infos


def test_a_window_is_one_whole_episode_per_environment() -> None:
    window = of(4).play([7, 9, 2, 3])
    assert [episode.length for episode in window.completed or ()] == [1, 3, 3, 4]
    assert [episode.total_return for episode in window.completed or ()] == [0, 3, 3, 6]
    np.testing.assert_array_equal(np.flatnonzero(window.dones), [0, 3, 6, 10])
    np.testing.assert_array_equal(np.flatnonzero(window.truncated), [0, 3, 10])
    np.testing.assert_array_equal(np.flatnonzero(window.terminated), [6])


def test_rows_stand_episode_by_episode_and_each_step_is_followed_by_its_own_next_observation() -> None:
    window = of(3).play([5, 1, 2])
    expected = [(seed, step) for seed in (5, 1, 2) for step in range(1 + seed % 7)]
    np.testing.assert_array_equal(window.observations, expected)
    np.testing.assert_array_equal(window.next_observations, [(seed, step + 1) for seed, step in expected])
    assert [info["seed"] for info in window.infos] == [seed for seed, _ in expected]


def test_the_agent_is_asked_greedily_once_per_step_with_the_rows_still_running() -> None:
    agent = Watched()
    of(4, agent).play([0, 3, 3, 1])
    assert {is_greedy for _, is_greedy in agent.notes()} == {True}
    batches = [batch for batch, _ in agent.notes()]
    expected = [[0, 3, 3, 1], [3, 3, 1], [3, 3], [3, 3]]
    assert [batch[:, 0].tolist() for batch in batches] == expected
    assert [set(batch[:, 1]) for batch in batches] == [{0}, {1}, {2}, {3}]


def test_environments_in_processes_of_their_own_step_at_the_same_time(tmp_path: Path) -> None:
    makers = [partial(IsolatedEnv, partial(Meeting, tmp_path, number)) for number in range(3)]
    apart = ValidationPipeline(makers, Watched(), seed=0)
    assert_same(apart.play([5, 5, 5]), of(3).play([5, 5, 5]))
    assert len(list(tmp_path.iterdir())) == 6 * 3
    apart.teardown()


def test_every_window_has_other_seeds() -> None:
    envs = [Seeded() for _ in range(5)]
    pipeline = ValidationPipeline([partial(lambda env: env, env) for env in envs], Watched(), seed=0)
    windows = list(itertools.islice(pipeline.episodes(), 20))
    seeds = [seed for env in envs for seed in env.seeds]
    assert len(seeds) == len(set(seeds)) == 100
    assert all(len(window.completed or ()) == 5 for window in windows)
    assert [window.episode_id for window in windows] == list(range(20))


def test_the_same_root_seed_plays_the_same_windows_and_another_does_not() -> None:
    streams = [list(itertools.islice(of(3, seed=seed).episodes(), 4)) for seed in (1, 1, 2)]
    for first, second in zip(streams[0], streams[1], strict=True):
        assert_same(first, second)
    assert [w.infos for w in streams[0]] != [w.infos for w in streams[2]]


def test_playing_given_seeds_repeats_exactly_and_equals_playing_each_alone() -> None:
    seeds = [11, 12, 13]
    agent = make_agent("CartPole-v1", framework="torch", seed=0)

    def cartpoles(n: int) -> ValidationPipeline:
        return ValidationPipeline([lambda: gym.make("CartPole-v1")] * n, agent, seed=0)

    together = cartpoles(3)
    first, again = together.play(seeds), together.play(seeds)
    alone = cartpoles(1)
    assert_same(first, again)
    assert_same(first, EpisodeData.concatenate([alone.play([seed]) for seed in seeds]))


def test_playing_given_seeds_does_not_move_the_stream_of_fresh_ones() -> None:
    plain, interrupted = of(2), of(2)
    interrupted.play([1, 2])
    assert plain.fresh_seeds() == interrupted.fresh_seeds()


def test_fewer_seeds_than_environments_play_that_many_episodes() -> None:
    window = of(5).play([3, 4])
    assert [info["seed"] for info in window.infos] == [3] * 4 + [4] * 5


@pytest.mark.parametrize("seeds", [[], [1, 2, 3]])
def test_seeds_for_which_there_is_no_environment_are_refused_before_any_reset(seeds: list[int]) -> None:
    envs = [Seeded(), Seeded()]
    pipeline = ValidationPipeline([partial(lambda env: env, env) for env in envs], Watched())
    with pytest.raises(InvalidArgumentError, match=f"1 to 2 seeds, but got {len(seeds)}"):
        pipeline.play(seeds)
    assert [env.seeds for env in envs] == [[], []]


def test_playing_draws_nothing_from_the_agents_generator() -> None:
    agent = make_agent("CartPole-v1", framework="torch", seed=0)
    twin = make_agent("CartPole-v1", framework="torch", seed=0)
    next(ValidationPipeline([lambda: gym.make("CartPole-v1")] * 3, agent, seed=0).episodes())
    observations = np.zeros((50, 4), np.float32)
    np.testing.assert_array_equal(agent.act_batch(observations), twin.act_batch(observations))


def test_a_misfit_agent_is_refused_in_setup() -> None:
    pipeline = of(2, make_agent("CartPole-v1", framework="torch", seed=0))  # type: ignore[arg-type]
    with pytest.raises(ModelShapeError, match=r"\(2, 2\)"):
        pipeline.setup()


def test_without_an_agent_there_is_a_contract_error() -> None:
    with pytest.raises(ContractError, match="no agent"):
        next(ValidationPipeline([Seeded]).episodes())


def test_a_reward_that_is_no_number_is_refused() -> None:
    class Rewardless(Seeded):
        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(action)
            return (observation, None, *rest)

    with pytest.raises(BadDataError, match="its reward is NoneType"):
        ValidationPipeline([Rewardless], Watched()).play([1])


def test_teardown_closes_every_environment() -> None:
    envs = [Seeded() for _ in range(3)]
    ValidationPipeline([partial(lambda env: env, env) for env in envs], Watched()).teardown()
    assert [env.closed for env in envs] == [1, 1, 1]


class Endless(gym.Env):
    """Never ends an episode."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), 1.0, False, False, {}


def test_an_episode_is_cut_where_it_is_bounded_and_the_window_says_so() -> None:
    pipeline = ValidationPipeline([Endless, Endless], NumpyAgent(), seed=0)
    pipeline.bound(25)
    window = pipeline.play([3, 4])
    assert [episode.length for episode in window.completed_episodes()] == [25, 25]
    assert window.metadata == {SEEDS: (3, 4), EPISODE_LIMIT: 25, CUT_EPISODES: 2}
    assert not window.terminated.any()


def test_no_episode_is_cut_before_the_time_limit_of_its_environment() -> None:
    pipeline = ValidationPipeline([lambda: gym.make("Acrobot-v1", max_episode_steps=60)], NumpyAgent(), seed=0)
    pipeline.bound(25)
    window = pipeline.play([0])
    assert window.length == 60
    assert EPISODE_LIMIT not in window.metadata


def test_a_limit_of_a_wrapper_counts_where_nothing_is_registered() -> None:
    pipeline = ValidationPipeline([lambda: gym.wrappers.TimeLimit(Endless(), 60)], NumpyAgent(), seed=0)
    pipeline.bound(25)
    assert pipeline.play([0]).length == 60


def test_functions_that_return_the_same_environment_are_refused() -> None:
    env = Endless()
    with pytest.raises(InvalidArgumentError, match="returned the same"):
        ValidationPipeline([lambda: env, lambda: env])


def test_it_is_left_between_two_steps_and_plays_whole_episodes_again_afterwards() -> None:
    left = iter([False] * 7 + [True])
    pipeline = ValidationPipeline([Endless, Endless], NumpyAgent(), seed=0)
    pipeline.bound(25, lambda: next(left))
    with pytest.raises(PlayStoppedError):
        pipeline.play([3, 4])
    pipeline.bound(25)
    assert pipeline.play([3, 4]).length == 50


def test_an_episode_without_an_end_is_cut_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tensor_optix.pipeline.validation_pipeline.LONGEST_LIMIT", 30)
    pipeline = ValidationPipeline([Endless, Endless], NumpyAgent(), seed=0)
    for _ in range(2):
        window = next(iter(pipeline.episodes()))
        assert [episode.length for episode in window.completed or ()] == [30, 30]
        assert window.truncated.sum() == 2
    assert sum("cut an episode" in record.getMessage() for record in caplog.records) == 1


def test_episodes_may_be_cut_earlier_for_a_while_and_nobody_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = ValidationPipeline([Endless, Endless], NumpyAgent(), seed=0)
    assert isinstance(pipeline, CutsEpisodes)
    for limit in (7, 9):
        pipeline.max_episode_steps = limit
        assert [episode.length for episode in pipeline.play([1, 2]).completed or ()] == [limit, limit]
    assert not caplog.records
