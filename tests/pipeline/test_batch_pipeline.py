"""Windows of a fixed number of steps: nothing is lost, doubled or joined across episodes."""

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.core.types import EpisodeData, EpisodeSummary
from tensor_optix.errors import (
    BadDataError,
    ContractError,
    EnvironmentNotFoundError,
    InvalidArgumentError,
    ModelShapeError,
)
from tensor_optix.factory import make_agent
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.episodes import episode_seed
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tests.helpers import NumpyAgent

LENGTHS = (3, 5, 1, 4, 7)


class Counting(gym.Env):
    """Observation = steps and resets so far, reward = action; episodes of LENGTHS, every second one cut by a limit."""

    observation_space = spaces.Box(0.0, 1e9, (1,), np.float32)
    action_space = spaces.Discrete(10)

    def __init__(self) -> None:
        self.count = -1
        self.episode = -1
        self.left = 0
        self.reset_seeds: list[int | None] = []
        self.closed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.reset_seeds.append(seed)
        self.episode += 1
        self.left = LENGTHS[self.episode % len(LENGTHS)]
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.left -= 1
        over, limit = self.left == 0, self.episode % 2 == 1
        return self._observe(), float(action), over and not limit, over and limit, {"count": self.count}

    def close(self) -> None:
        self.closed += 1

    def _observe(self) -> np.ndarray:
        self.count += 1
        return np.array([self.count], np.float32)


class Modulo(NumpyAgent):
    """Acts by its observation alone: greedily its last digit, else the last digit plus one."""

    def act(self, observation: Any) -> int:
        return (int(np.asarray(observation).ravel()[0]) + 1) % 10

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        digits = np.asarray(observations)[:, 0].astype(np.int64) % 10
        return digits if deterministic else (digits + 1) % 10


def transitions_of_a_plain_loop(n_steps: int) -> list[tuple]:
    env, agent, rows = Counting(), Modulo(), []
    observation, _ = env.reset()
    for _ in range(n_steps):
        action = agent.act(observation)
        following, reward, terminated, truncated, _ = env.step(action)
        rows.append((float(observation[0]), action, reward, float(following[0]), terminated, truncated))
        observation = env.reset()[0] if terminated or truncated else following
    return rows


def transitions(windows: list[EpisodeData]) -> list[tuple]:
    return [
        (float(o[0]), int(a), float(r), float(n[0]), bool(te), bool(tr))
        for w in windows
        for o, a, r, n, te, tr in zip(
            w.observations, w.actions, w.rewards, w.next_observations, w.terminated, w.truncated, strict=True
        )
    ]


def take(pipeline: BatchPipeline, n: int) -> list[EpisodeData]:
    return list(itertools.islice(pipeline.episodes(), n))


@pytest.fixture
def cartpole() -> Iterator[gym.Env]:
    env = gym.make("CartPole-v1")
    yield env
    env.close()


# --- the stream ---


@pytest.mark.parametrize("window_size", [1, 2, 7, 20, 64])
def test_the_windows_hold_exactly_the_transitions_of_a_plain_loop(window_size: int) -> None:
    windows = take(BatchPipeline(Counting(), Modulo(), window_size), -(-200 // window_size))
    assert {window.length for window in windows} == {window_size}
    assert transitions(windows)[:200] == transitions_of_a_plain_loop(200)


def test_no_transition_joins_two_episodes() -> None:
    for observation, _, _, following, *_ in transitions(take(BatchPipeline(Counting(), Modulo(), 8), 30)):
        assert following == observation + 1


def test_the_completed_episodes_have_their_full_length_and_return_over_all_windows() -> None:
    windows = take(BatchPipeline(Counting(), Modulo(), 3), 40)
    completed = [episode for window in windows for episode in window.completed or ()]
    assert [episode.length for episode in completed] == list(itertools.islice(itertools.cycle(LENGTHS), len(completed)))
    rows, start = transitions_of_a_plain_loop(120), 0
    for episode in completed:
        assert episode.total_return == sum(row[2] for row in rows[start : start + episode.length])
        start += episode.length
    assert start > 100


def test_a_later_call_of_episodes_goes_on_in_the_middle_of_an_episode() -> None:
    pipeline = BatchPipeline(Counting(), Modulo(), 4)
    windows = [next(pipeline.episodes()) for _ in range(10)]
    assert transitions(windows) == transitions_of_a_plain_loop(40)
    assert [window.episode_id for window in windows] == list(range(10))


def test_infos_are_those_of_the_steps() -> None:
    (window,) = take(BatchPipeline(Counting(), Modulo(), 12), 1)
    assert [info["count"] for info in window.infos] == window.next_observations.ravel().tolist()


def test_whole_episodes_are_yielded_where_episodes_are_asked_for() -> None:
    windows = take(BatchPipeline(Counting(), Modulo(), n_episodes=2), 5)
    assert [window.length for window in windows] == [8, 5, 10, 6, 11]
    assert all(window.dones[-1] and window.dones.sum() == 2 for window in windows)
    assert [len(window.completed or ()) for window in windows] == [2] * 5


def test_the_environment_is_reset_once_per_episode_with_another_seed() -> None:
    env = Counting()
    take(BatchPipeline(env, Modulo(), 20, seed=5), 1)
    assert env.reset_seeds == [episode_seed(5, number) for number in range(env.episode + 1)]


# --- acting ---


def test_training_windows_ask_act() -> None:
    (window,) = take(BatchPipeline(Counting(), Modulo(), 30), 1)
    np.testing.assert_array_equal(window.actions, (window.observations.ravel() + 1) % 10)


def test_deterministic_windows_act_greedily() -> None:
    (window,) = take(BatchPipeline(Counting(), Modulo(), 30, deterministic=True), 1)
    np.testing.assert_array_equal(window.actions, window.observations.ravel() % 10)


def test_a_deterministic_ppo_agent_always_takes_its_likeliest_action() -> None:
    agent = make_agent("CartPole-v1", framework="torch", seed=0)
    (window,) = take(BatchPipeline("CartPole-v1", agent, 60, deterministic=True, seed=0), 1)
    np.testing.assert_array_equal(window.actions, agent.act_batch(window.observations, deterministic=True))


class Constant(NumpyAgent):
    def __init__(self, action: float) -> None:
        super().__init__()
        self.action = np.array([action], np.float32)

    def act(self, observation: Any) -> np.ndarray:  # type: ignore[override]
        return self.action


class InUnitRange(Constant):
    action_range = (-1.0, 1.0)


class Recording(gym.Wrapper):
    """Remembers the actions that reach the environment."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.actions: list[Any] = []

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        return self.env.step(action)


@pytest.mark.parametrize(("agent", "torque"), [(InUnitRange(0.5), 1.0), (Constant(0.5), 0.5)])
def test_pendulum_gets_torques_in_its_own_range_while_the_window_keeps_the_policys_actions(
    agent: Constant, torque: float
) -> None:
    env = Recording(gym.make("Pendulum-v1"))
    (window,) = take(BatchPipeline(env, agent, 5, seed=0), 1)
    np.testing.assert_array_equal(np.array(env.actions), np.full((5, 1), torque))
    np.testing.assert_array_equal(window.actions, np.full((5, 1), 0.5))


def test_actions_beyond_the_range_reach_pendulum_clipped() -> None:
    env = Recording(gym.make("Pendulum-v1"))
    take(BatchPipeline(env, InUnitRange(-7.0), 3, seed=0), 1)
    np.testing.assert_array_equal(np.array(env.actions), np.full((3, 1), -2.0))


# --- seeds ---


def stream(seed: int | None) -> list[EpisodeData]:
    return take(BatchPipeline("CartPole-v1", NumpyAgent(seed=1), 40, seed=seed), 5)


def test_the_same_seed_repeats_the_stream_exactly() -> None:
    for first, second in zip(stream(3), stream(3), strict=True):
        for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert first.completed == second.completed


def test_another_seed_gives_another_stream() -> None:
    assert not np.array_equal(stream(3)[0].observations, stream(4)[0].observations)


def test_the_loops_seed_is_taken_only_where_the_constructor_had_none() -> None:
    for own, expected in ((None, 9), (4, 4)):
        env = Counting()
        pipeline = BatchPipeline(env, Modulo(), 1, seed=own)
        pipeline.seed(9)
        take(pipeline, 1)
        assert env.reset_seeds == [expected]


# --- refusals ---


@pytest.mark.parametrize("value", [None, True])
def test_a_window_size_is_a_whole_number_and_nothing_that_passes_for_one(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"window_size must be an integer of at least 1, but got {value!r}"):
        BatchPipeline(Counting(), window_size=value)


@pytest.mark.parametrize("value", [0, -3, 2.5, "10"])
@pytest.mark.parametrize("name", ["window_size", "n_episodes"])
def test_a_window_needs_at_least_one_whole_step_or_episode(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{name} must be an integer of at least 1, but got {value!r}"):
        BatchPipeline(Counting(), **{name: value})


def test_an_unknown_id_is_refused_at_once() -> None:
    with pytest.raises(EnvironmentNotFoundError, match="CartPole-v1"):
        BatchPipeline("CartPole-v11")


def test_without_an_agent_there_is_a_contract_error_and_no_step() -> None:
    env = Counting()
    pipeline = BatchPipeline(env)
    with pytest.raises(ContractError, match="no agent"):
        pipeline.setup()
    with pytest.raises(ContractError, match="no agent"):
        next(pipeline.episodes())
    assert env.count == -1


def test_a_misfit_agent_is_refused_before_the_first_step() -> None:
    env = Counting()
    pipeline = BatchPipeline(env, make_agent("CartPole-v1", framework="torch", seed=0))
    with pytest.raises(ModelShapeError, match=r"\(2, 1\)"):
        pipeline.setup()
    with pytest.raises(ModelShapeError):
        next(pipeline.episodes())
    assert env.count == -1


def test_a_reward_that_is_no_number_is_refused() -> None:
    class Rewardless(Counting):
        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(action)
            return (observation, None, *rest)

    with pytest.raises(BadDataError, match="None"):
        take(BatchPipeline(Rewardless(), Modulo(), 5), 1)


def test_teardown_closes_the_environment() -> None:
    env = Counting()
    pipeline = BatchPipeline(env, Modulo())
    pipeline.teardown()
    assert env.closed == 1


def test_after_a_teardown_nothing_of_the_unfinished_episode_is_left() -> None:
    first, second, *_ = LENGTHS
    pipeline = BatchPipeline(Counting(), Modulo(), first - 1)
    take(pipeline, 1)
    pipeline.teardown()
    windows = take(pipeline, 3)
    assert windows[0].observations[0] == first  # what the reset gave
    episode = next(episode for window in windows for episode in window.completed or ())
    assert episode.length == second
    assert episode.total_return == np.concatenate([window.rewards for window in windows])[:second].sum()


# --- validation ---


def test_validation_plays_whole_episodes_on_copies(cartpole: gym.Env) -> None:
    pipeline = BatchPipeline(cartpole, NumpyAgent(), 10, seed=0)
    before = take(pipeline, 1)
    validation = pipeline.validation_pipeline(3, seed=1)
    assert validation is not None
    window = next(validation.episodes())
    validation.teardown()
    assert len(window.completed or ()) == 3
    assert window.dones.sum() == 3
    twin = BatchPipeline(gym.make("CartPole-v1"), NumpyAgent(), 10, seed=0)
    np.testing.assert_array_equal(before[0].observations, take(twin, 1)[0].observations)


def test_validation_leaves_the_training_stream_as_it_was() -> None:
    def run(with_validation: bool) -> list[EpisodeData]:
        agent = make_agent("CartPole-v1", framework="torch", seed=0)
        pipeline = BatchPipeline("CartPole-v1", agent, 30, seed=0)
        validation = pipeline.validation_pipeline(2, seed=1)
        assert validation is not None
        windows = []
        for _ in range(4):
            windows += take(pipeline, 1)
            if with_validation:
                next(validation.episodes())
        return windows

    for first, second in zip(run(True), run(False), strict=True):
        np.testing.assert_array_equal(first.observations, second.observations)
        np.testing.assert_array_equal(first.actions, second.actions)


def test_where_the_environment_cannot_be_rebuilt_there_is_none_and_one_warning_with_the_remedies(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline = BatchPipeline(Counting(), Modulo())
    with caplog.at_level(logging.WARNING):
        assert pipeline.validation_pipeline(3, seed=0) is None
    (record,) = caplog.records
    assert "val_pipeline=None" in record.getMessage()


class HalfReward(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """A user's wrapper that records how it was built."""

    def __init__(self, env: gym.Env, factor: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, factor=factor)
        gym.Wrapper.__init__(self, env)
        self.factor = factor

    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        return (observation, float(reward) * self.factor, *rest)


@pytest.mark.parametrize("env", [Counting, lambda: Counting()], ids=["class", "function"])
def test_a_class_or_a_function_is_stepped_and_validated_on_new_environments(env: Any) -> None:
    pipeline = BatchPipeline(env, NumpyAgent(), window_size=8)
    held_out = pipeline.validation_pipeline(2, seed=0)
    assert held_out is not None
    window = next(iter(held_out.episodes()))
    assert [episode.length for episode in window.completed_episodes()] == [LENGTHS[0]] * 2
    assert next(pipeline.episodes()).observations[0] == [0.0]  # a copy has stepped, not this one


def test_a_function_that_returns_its_one_environment_gives_no_validation(caplog: pytest.LogCaptureFixture) -> None:
    env = Counting()
    assert BatchPipeline(lambda: env, NumpyAgent()).validation_pipeline(2, seed=0) is None
    assert "the same environment each time" in caplog.text


def test_a_users_wrapper_that_is_recorded_in_the_spec_is_in_the_validation_too(cartpole: gym.Env) -> None:
    pipeline = BatchPipeline(HalfReward(cartpole, factor=0.5), NumpyAgent(), seed=0)
    validation = pipeline.validation_pipeline(2, seed=0)
    assert validation is not None
    window = next(validation.episodes())
    assert set(window.rewards.tolist()) == {0.5}
    assert window.completed == tuple(EpisodeSummary(0.5 * e.length, e.length) for e in window.completed or ())


def test_validation_actions_are_rescaled_as_in_training() -> None:
    def first_step(agent: Constant) -> EpisodeData:
        pipeline = BatchPipeline("Pendulum-v1", agent)
        validation = pipeline.validation_pipeline(1, seed=0)
        assert validation is not None
        return next(validation.episodes())

    env = gym.make("Pendulum-v1").unwrapped
    for agent, torque in ((InUnitRange(1.0), 2.0), (Constant(1.0), 1.0)):
        window = first_step(agent)
        cos, sin, speed = window.observations[0].astype(float)
        angle = np.arctan2(sin, cos)
        cost = angle**2 + 0.1 * speed**2 + 0.001 * torque**2
        assert window.rewards[0] == pytest.approx(-cost, rel=1e-5)
        assert window.length == 200
    env.close()


class OneArrayEnv(gym.Env):
    """Counts 0, 1, 2, 3 in one array that it changes and hands out again and again; ends at 3."""

    observation_space = gym.spaces.Box(0.0, 9.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.count = np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count[:] = 0
        return self.count, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count += 1
        return self.count, 1.0, bool(self.count[0] == 3), False, {}


def test_an_environment_that_hands_out_one_array_gives_the_true_transitions() -> None:
    window = next(iter(BatchPipeline(OneArrayEnv(), NumpyAgent(), window_size=5).episodes()))
    assert window.observations.ravel().tolist() == [0, 1, 2, 0, 1]
    assert window.next_observations.ravel().tolist() == [1, 2, 3, 1, 2]


def test_so_does_its_validation() -> None:
    window = ValidationPipeline([OneArrayEnv, OneArrayEnv], NumpyAgent(), seed=0).play([1, 2])
    assert window.observations.ravel().tolist() == [0, 1, 2, 0, 1, 2]
    assert window.next_observations.ravel().tolist() == [1, 2, 3, 1, 2, 3]
