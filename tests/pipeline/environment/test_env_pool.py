"""EnvPool's environments as a vector: the same transitions as Gymnasium's, exact ends, and seeds that repeat."""

import json
import math
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("envpool", reason="EnvPool is not installed: pip install 'tensor-optix-core[envpool]'")

from gymnasium.vector import AutoresetMode

from tensor_optix import EpisodeData, VectorBatchPipeline
from tensor_optix.pipeline.environment.env_pool import EnvPoolEnv, EnvPoolVectorEnv
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.pool_tasks import register_env_pool
from tensor_optix.pipeline.environment.vector_making import vector_of
from tests.helpers import NumpyAgent

CART_POLE = "EnvPool/CartPole-v1"


@pytest.fixture(autouse=True)
def registered() -> None:
    register_env_pool(CART_POLE)


class Player(NumpyAgent):
    """Plays each action as often as the others."""

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return self.rng.integers(2, size=len(observations))


def windows(pipeline: VectorBatchPipeline, n: int) -> list[EpisodeData]:
    stream = pipeline.episodes()
    return [next(stream) for _ in range(n)]


def vector(env: str, num_envs: int, **settings: object) -> Any:
    register_env_pool(env)
    return gym.make_vec(env, num_envs, vectorization_mode="vector_entry_point", **settings)


# --- the same task as Gymnasium's ---


def cosines(observation: np.ndarray) -> list[float]:
    """The angles of pairs of cosine and sine, then the speeds."""
    pairs, speeds = (2, 2) if len(observation) == 6 else (1, 1)
    angles = [math.atan2(observation[2 * i + 1], observation[2 * i]) for i in range(pairs)]
    return [*angles, *observation[-speeds:]]


def bring_to(single: Any, observation: np.ndarray) -> None:
    """Bring an environment of Gymnasium to the state that an observation shows."""
    unwrapped = single.unwrapped
    if hasattr(unwrapped, "model"):  # the places along which a body moves freely are not shown, and do not matter
        n = unwrapped.model.nq
        hidden = n + unwrapped.model.nv - len(observation)
        unwrapped.set_state(np.r_[np.zeros(hidden), observation[: n - hidden]], observation[n - hidden :])
    elif "Pendulum" in single.spec.id or "Acrobot" in single.spec.id:
        unwrapped.state = np.array(cosines(observation))
    else:
        unwrapped.state = np.array(observation, np.float64)


@pytest.mark.parametrize(
    "task",
    [
        "CartPole-v1",
        "Pendulum-v1",
        "Acrobot-v1",
        "MountainCar-v0",
        "MountainCarContinuous-v0",
        "Hopper-v5",
        "Walker2d-v5",
        "HalfCheetah-v5",
        "Swimmer-v5",
        "InvertedPendulum-v5",
    ],
)
def test_a_task_is_gymnasiums_step_by_step(task: str) -> None:
    pool, single = vector(f"EnvPool/{task}", 1), make_environment(task)
    seen, _ = pool.reset(seed=1)
    single.reset(seed=0)
    bring_to(single, seen[0])
    single.action_space.seed(0)
    steps = 100 if hasattr(single.unwrapped, "model") else 1000  # bodies in contact magnify what differs in rounding
    for _ in range(steps):
        action = single.action_space.sample()
        seen, rewards, terminated, truncated, _ = pool.step(np.array([action]))
        shown, reward, *ends, _ = single.step(action)
        np.testing.assert_allclose(seen[0], shown, atol=1e-4)
        np.testing.assert_allclose(rewards[0], reward, atol=1e-4)
        assert [terminated[0], truncated[0]] == ends
        if any(ends):
            break
    pool.close()


def test_what_falls_in_the_last_step_has_ended_by_itself_and_is_truncated_too() -> None:
    plain = vector(CART_POLE, 1)
    plain.reset(seed=0)
    length = 0
    ended = False
    while not ended:
        ended, length = bool(plain.step(np.ones(1, np.int64))[2][0]), length + 1
    limited = vector(CART_POLE, 1, max_episode_steps=length)
    limited.reset(seed=0)
    for _ in range(length):
        _, _, terminated, truncated, _ = limited.step(np.ones(1, np.int64))
    assert (terminated.tolist(), truncated.tolist()) == ([True], [True])
    cut = vector(CART_POLE, 1, max_episode_steps=length - 1)
    cut.reset(seed=0)
    for _ in range(length - 1):
        _, _, terminated, truncated, _ = cut.step(np.ones(1, np.int64))
    assert (terminated.tolist(), truncated.tolist()) == ([False], [True])


# --- a vector that is reset by whoever steps it ---


def test_only_those_that_are_to_be_reset_begin_again() -> None:
    pool = vector(CART_POLE, 4)
    assert pool.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    begun, _ = pool.reset(seed=0)
    stepped = pool.step(np.ones(4, np.int64))[0]
    kept = stepped.copy()
    which = np.array([False, True, False, True])
    observations, _ = pool.reset(options={"reset_mask": which})
    np.testing.assert_array_equal(observations[~which], stepped[~which])
    assert (np.abs(observations[which]) <= 0.05).all()
    assert not (observations[which] == begun[which]).any()
    np.testing.assert_array_equal(stepped, kept)


def test_environment_i_has_the_seed_plus_i() -> None:
    begun, _ = vector(CART_POLE, 3).reset(seed=5)
    other, _ = vector(CART_POLE, 2).reset(seed=6)
    np.testing.assert_array_equal(begun[1:], other)
    listed, _ = vector(CART_POLE, 2).reset(seed=[7, 6])
    np.testing.assert_array_equal(listed, begun[[2, 1]])
    assert vector(CART_POLE, 1).reset(seed=2**31 + 3)[0].shape == (1, 4)


def test_without_a_seed_its_episodes_are_others_each_time() -> None:
    first, second = (vector(CART_POLE, 1).reset()[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_a_reset_without_a_seed_goes_on() -> None:
    pool = vector(CART_POLE, 2)
    first, _ = pool.reset(seed=0)
    second, _ = pool.reset()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(pool.reset(seed=0)[0], first)


def test_what_a_game_tells_of_itself_is_told_of_each() -> None:
    pool = vector("EnvPool/Breakout-v5", 2, num_threads=1)
    _, begun = pool.reset(seed=0)
    _, _, _, _, infos = pool.step(np.zeros(2, np.int64))
    assert begun["lives"].tolist() == infos["lives"].tolist() == [5, 5]
    assert "ram" not in infos
    _, again = pool.reset(options={"reset_mask": np.array([False, True])})
    assert again["_lives"].tolist() == [False, True]
    assert again["lives"][1] == 5


# --- in a pipeline ---


@pytest.mark.parametrize("settings", [None, {"num_threads": 1}, {"num_threads": 1, "max_episode_steps": 30}])
def test_an_id_is_a_pool_with_its_settings(settings: dict[str, Any] | None) -> None:
    env, makers = vector_of(
        (CART_POLE, 3) if settings is None else [partial(make_environment, CART_POLE, settings)] * 3, False
    )
    assert isinstance(env, EnvPoolVectorEnv)
    assert (env.num_envs, makers) == (3, None)
    single: Any = env.single()()
    assert single.spec.max_episode_steps == (settings or {}).get("max_episode_steps", 500)
    assert single.observation_space == env.single_observation_space
    env.close()


def test_a_window_has_whole_episodes_and_no_pair_across_two() -> None:
    (window,) = windows(VectorBatchPipeline((CART_POLE, 3), Player(), window_size=120, seed=0), 1)
    assert window.completed
    observations = window.observations.reshape(3, 120, 4)
    following, ends = window.next_observations.reshape(3, 120, 4), window.dones.reshape(3, 120)
    assert len(window.completed) == ends.sum()
    for i in range(3):
        for t in range(119):
            if ends[i, t]:
                assert (np.abs(observations[i, t + 1]) <= 0.05).all()  # a new start
                assert (np.abs(following[i, t])[[0, 2]] > [2.4, 0.2095]).any()  # what it really fell to
            else:
                np.testing.assert_array_equal(following[i, t], observations[i, t + 1])
    assert window.truncated.sum() == 0
    assert window.terminated.sum() == ends.sum()


def test_a_time_limit_truncates() -> None:
    (window,) = windows(VectorBatchPipeline(vector(CART_POLE, 2, max_episode_steps=5), Player(), 20, seed=0), 1)
    assert [episode.length for episode in window.completed or ()] == [5] * 8
    assert (window.truncated.sum(), window.terminated.sum()) == (8, 0)


def test_a_seed_repeats_a_run_whatever_the_threads() -> None:
    def collected(threads: int) -> list[EpisodeData]:
        return windows(VectorBatchPipeline(vector(CART_POLE, 4, num_threads=threads), Player(), 60, seed=3), 3)

    for first, second in zip(collected(1), collected(2), strict=True):
        np.testing.assert_array_equal(first.observations, second.observations)
        np.testing.assert_array_equal(first.next_observations, second.next_observations)
        np.testing.assert_array_equal(first.rewards, second.rewards)


def test_a_resumed_run_begins_new_episodes_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def resumed(state: dict[str, Any]) -> tuple[VectorBatchPipeline, EpisodeData]:
        pipeline = VectorBatchPipeline((CART_POLE, 2), Player(), window_size=40, seed=0)
        pipeline.restore_stream(json.loads(json.dumps(state)))
        return pipeline, windows(pipeline, 1)[0]

    first = VectorBatchPipeline((CART_POLE, 2), Player(), window_size=40, seed=0)
    begun = windows(first, 2)[0].observations[0]
    second, window = resumed(first.stream_state())
    assert "The run goes on, but not exactly" in caplog.text
    assert not np.array_equal(window.observations[0], begun)
    np.testing.assert_array_equal(resumed(first.stream_state())[1].observations, window.observations)
    _, third = resumed(second.stream_state())
    assert not np.array_equal(third.observations[0], window.observations[0]), "a second one begins others"


def test_validation_is_played_in_gymnasium() -> None:
    pipeline = VectorBatchPipeline((CART_POLE, 2), Player(), window_size=20, seed=0)
    held_out: Any = pipeline.validation_pipeline(2, seed=0)
    assert {one.env.spec.id for one in held_out._envs} == {"CartPole-v1"}
    assert pipeline.reward_threshold == 475.0
    assert pipeline.env_name == CART_POLE
    pipeline.teardown()
    held_out.teardown()


# --- a single one, where Gymnasium has none ---


def test_a_single_one_repeats_an_episode_by_its_seed() -> None:
    env: Any = make_environment("EnvPool/Catch-v0")
    assert isinstance(env.unwrapped, EnvPoolEnv)

    def played(seed: int) -> list[Any]:
        steps = [env.reset(seed=seed)[0]]
        ended = False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(1)
            assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
            steps += [observation, reward]
            ended = terminated or truncated
        return steps

    first, second, third = played(3), played(4), played(3)
    assert all(map(np.array_equal, first, third))
    assert not all(map(np.array_equal, first, second))
    env.close()


def test_validation_is_played_in_a_pool_where_gymnasium_has_no_such_task() -> None:
    pipeline = VectorBatchPipeline(("EnvPool/Catch-v0", 2), agent := Player(), window_size=20, seed=0)
    held_out: Any = pipeline.validation_pipeline(2, seed=0)
    held_out.agent = agent
    assert len(held_out.play([1, 2]).completed) == 2
    pipeline.teardown()
    held_out.teardown()
