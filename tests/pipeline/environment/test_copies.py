"""Copies for held-out episodes are the same environment, or there are none and the reason is said."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from tensor_optix.pipeline.environment.copies import copies_by, rebuild, vector_copies
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tests.helpers import NumpyAgent


def cartpole(**arguments: Any) -> gym.Env:
    return gym.make("CartPole-v1", **arguments)


def base_of(env: gym.Env) -> Any:
    return env.unwrapped


class Unrecorded(gym.Wrapper):
    """A wrapper that does not record its arguments."""


class RunningScale(gym.ObservationWrapper):
    """Divides observations by a running mean of their sizes, as users write it by themselves."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.mean_size = 1.0

    def observation(self, observation: Any) -> Any:
        self.mean_size += 0.1 * (float(np.abs(observation).mean()) - self.mean_size)
        return (observation / self.mean_size).astype(np.float32)


class Remembers(gym.ObservationWrapper):
    """Keeps numbers of the episode in progress, and counts steps over all of them."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.steps, self.mean = 0, 0.0

    def reset(self, **arguments: Any) -> Any:
        self.mean = 0.0
        return super().reset(**arguments)

    def observation(self, observation: Any) -> Any:
        self.steps, self.mean = self.steps + 1, float(observation.mean())
        return observation


@pytest.fixture
def vectors() -> Iterator[Callable[[VectorEnv], VectorEnv]]:
    """Closes every vector that a test has made."""
    made: list[VectorEnv] = []

    def keep(vector: VectorEnv) -> VectorEnv:
        made.append(vector)
        return vector

    yield keep
    for vector in made:
        vector.close()


def lengths(env: gym.Env, seed: int = 0) -> int:
    """Return the steps of an episode of one action."""
    env.reset(seed=seed)
    for step in range(1, 1000):
        *_, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            return step
    raise AssertionError("it does not end")


class TestOfOneEnvironment:
    def test_each_copy_is_a_new_environment_with_the_same_spaces(self) -> None:
        env = cartpole()
        make = rebuild(env)
        first, second = make(), make()
        assert len({id(e.unwrapped) for e in (env, first, second)}) == 3
        assert first.observation_space == env.observation_space
        assert first.action_space == env.action_space

    def test_a_copy_keeps_arguments_and_recorded_wrappers(self) -> None:
        env = wrappers.RescaleAction(gym.make("Pendulum-v1", g=5.0, max_episode_steps=7), np.float32(-3), np.float32(3))
        copy = rebuild(env)()
        assert base_of(copy).g == 5.0
        assert copy.action_space == spaces.Box(-3.0, 3.0, (1,), np.float32)
        copy.reset(seed=0)
        ends = [copy.step(np.zeros(1, np.float32))[3] for _ in range(7)]
        assert ends == [False] * 6 + [True]

    def test_a_copy_is_not_rendered(self) -> None:
        assert rebuild(cartpole(render_mode="rgb_array"))().render_mode is None

    def test_without_a_spec_there_is_none(self) -> None:
        env = gym.Env()
        with pytest.raises(ValueError, match="no spec"):
            rebuild(env)

    def test_a_wrapper_that_records_nothing_cannot_be_made_again(self) -> None:
        with pytest.raises(ValueError, match="cannot be made again"):
            rebuild(Unrecorded(cartpole()))

    def test_a_space_changed_by_hand_is_noticed(self) -> None:
        env = cartpole()
        env.action_space = spaces.Discrete(3)
        with pytest.raises(ValueError, match="other spaces"):
            rebuild(env)

    @pytest.mark.parametrize("wrap", [wrappers.NormalizeObservation, wrappers.NormalizeReward])
    def test_wrappers_that_keep_statistics_are_not_copied(self, wrap: Any) -> None:
        with pytest.raises(ValueError, match=r"Normalize\w+ has statistics of its own.*normalize_observations=True"):
            rebuild(wrap(cartpole()))

    def test_an_environment_without_its_outer_wrappers_is_copied_without_them(self) -> None:
        assert not isinstance(rebuild(base_of(cartpole()))(), gym.Wrapper)

    def test_what_was_changed_is_changed_in_the_copies_and_said(self, caplog: pytest.LogCaptureFixture) -> None:
        env = cartpole()
        base_of(env).gravity, base_of(env).theta_threshold_radians = 50, 0.02
        copy = rebuild(env)()
        assert "gravity, theta_threshold_radians" in caplog.text
        assert lengths(copy) == lengths(env) < lengths(cartpole())

    def test_a_limit_that_was_changed_on_a_wrapper_counts(self) -> None:
        env = gym.make("Pendulum-v1")
        env._max_episode_steps = 3  # type: ignore[attr-defined]
        copy = rebuild(env)()
        copy.reset(seed=0)
        assert [copy.step(np.zeros(1, np.float32))[3] for _ in range(3)] == [False, False, True]

    @pytest.mark.parametrize(("inner", "outer"), [(9, 4), (4, 9)])
    def test_of_several_limits_the_shortest_counts(self, inner: int, outer: int) -> None:
        env = wrappers.TimeLimit(gym.make("Pendulum-v1", max_episode_steps=inner), outer)
        copy = rebuild(env)()
        copy.reset(seed=0)
        assert [copy.step(np.zeros(1, np.float32))[3] for _ in range(4)] == [False] * 3 + [True]

    def test_what_is_drawn_is_observed_in_copies_too(self) -> None:
        env = wrappers.AddRenderObservation(cartpole(render_mode="rgb_array"))
        assert rebuild(env)().reset(seed=0)[0].shape == env.observation_space.shape

    def test_the_state_of_an_episode_is_no_change(self, caplog: pytest.LogCaptureFixture) -> None:
        env = cartpole()
        lengths(env)
        env.reset(seed=3)
        env.step(1)
        copy = rebuild(env)()
        assert not caplog.records
        assert lengths(copy, 5) == lengths(cartpole(), 5)

    def test_a_function_in_the_place_of_a_method_cannot_be_copied(self) -> None:
        env = cartpole()
        base_of(env).step = lambda action: None
        with pytest.raises(ValueError, match="'step' was changed after it was made"):
            rebuild(env)

    def test_settings_within_objects_are_found(self) -> None:
        gym.register("Configured-v0", lambda: Configured())
        try:
            env = gym.make("Configured-v0")
            base_of(env).config["lanes"]["count"] = 7
            base_of(env).world.wind = np.array([1.0, 2.0])
            copy = base_of(rebuild(env)())
        finally:
            del gym.registry["Configured-v0"]
        assert copy.config == {"lanes": {"count": 7}}
        assert copy.world.wind.tolist() == [1.0, 2.0]
        assert copy.world.wind is not base_of(env).world.wind


class World:
    def __init__(self) -> None:
        self.wind = np.zeros(2)


class Configured(gym.Env):
    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.config = {"lanes": {"count": 4}}
        self.world = World()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.position = object()
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), 0.0, False, False, {}


class TestByAFunction:
    def test_copies_are_made_by_it_with_what_was_changed(self) -> None:
        env = Configured()
        env.config["lanes"] = {"count": 1}
        assert base_of(copies_by(Configured, env)()).config == {"lanes": {"count": 1}}

    def test_one_that_returns_the_same_makes_no_copies(self) -> None:
        env = Configured()
        with pytest.raises(ValueError, match="the same environment each time"):
            copies_by(lambda: env, env)


AUTORESETS = [{}, *({"vector_kwargs": {"autoreset_mode": mode}} for mode in AutoresetMode)]


class TestOfAVector:
    @pytest.mark.parametrize("more", AUTORESETS)
    def test_made_one_by_one_they_have_arguments_wrappers_and_limit(self, vectors: Any, more: dict[str, Any]) -> None:
        env = vectors(
            gym.make_vec(
                "CartPole-v1",
                2,
                vectorization_mode="sync",
                wrappers=[lambda env: wrappers.TransformReward(env, lambda reward: 2 * reward)],
                sutton_barto_reward=True,
                max_episode_steps=30,
                **more,
            )
        )
        single = vector_copies(env, None)[0]()
        assert base_of(single)._sutton_barto_reward is True
        single.reset(seed=0)
        assert single.step(0)[1] == 0.0
        assert isinstance(single, wrappers.TransformReward)
        assert isinstance(single.env, wrappers.TimeLimit)
        assert single.spec is not None
        assert single.spec.max_episode_steps == 30

    def test_in_other_processes_it_is_the_same(self, vectors: Any) -> None:
        env = vectors(gym.make_vec("CartPole-v1", 2, vectorization_mode="async", max_episode_steps=30))
        env.set_attr("gravity", [1.0, 2.0])
        copies = [make() for make in vector_copies(env, None)]
        assert [base_of(copy).gravity for copy in copies] == [1.0, 2.0]
        assert copies[0].spec.max_episode_steps == 30  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("arguments", "limit"), [({}, 500), ({"max_episode_steps": 30}, 30), ({"sutton_barto_reward": True}, 500)]
    )
    def test_one_that_steps_all_in_one_go_has_single_ones(self, vectors: Any, arguments: Any, limit: int) -> None:
        env = vectors(gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point", **arguments))
        single = vector_copies(env, None)[0]()
        assert single.spec is not None
        assert single.spec.max_episode_steps == limit
        assert base_of(single)._sutton_barto_reward is arguments.get("sutton_barto_reward", False)

    def test_an_episode_that_has_just_ended_is_no_change_of_such_a_vector(self, vectors: Any) -> None:
        env = vectors(gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"))
        env.reset(seed=0)
        while not env.step(np.zeros(2, np.int64))[2].any():
            pass
        assert vector_copies(env, None)

    def test_what_was_changed_on_such_a_vector_is_said(self, vectors: Any) -> None:
        env = vectors(gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point"))
        env.reset(seed=0)
        env.step(np.zeros(2, np.int64))
        assert vector_copies(env, None)
        env.unwrapped.gravity = 3.0
        with pytest.raises(ValueError, match="'gravity' was changed after it was made"):
            vector_copies(env, None)

    def test_a_wrapper_around_the_vector_has_no_single_form(self, vectors: Any) -> None:
        env = gym.make_vec("CartPole-v1", 2, vectorization_mode="sync")
        assert vector_copies(wrappers.vector.RecordEpisodeStatistics(env), None)
        wrapped = vectors(wrappers.vector.NormalizeObservation(env))
        with pytest.raises(ValueError, match="NormalizeObservation is around the vector as a whole"):
            vector_copies(wrapped, None)

    @pytest.mark.parametrize("wrap", [wrappers.NormalizeObservation, wrappers.NormalizeReward, RunningScale])
    def test_functions_whose_wrappers_keep_statistics_make_none(self, vectors: Any, wrap: Any) -> None:
        env = vectors(SyncVectorEnv([lambda: wrap(cartpole())] * 2))
        with pytest.raises(ValueError, match=f"{wrap.__name__} has statistics of its own"):
            vector_copies(env, None)

    def test_numbers_of_an_episode_are_no_statistics(self, vectors: Any) -> None:
        env = vectors(SyncVectorEnv([lambda: Remembers(cartpole())] * 2))
        assert len(vector_copies(env, None)) == 2

    def test_each_environment_has_copies_of_its_own_with_what_was_changed_on_it(self, vectors: Any) -> None:
        makers = [cartpole, lambda: cartpole(sutton_barto_reward=True)]
        env = vectors(SyncVectorEnv(makers))
        env.set_attr("gravity", [1.0, 9.8])
        first, second = (base_of(make()) for make in vector_copies(env, None))
        assert (first.gravity, first._sutton_barto_reward) == (1.0, False)
        assert (second.gravity, second._sutton_barto_reward) == (9.8, True)

    def test_a_function_that_returns_the_same_environment_makes_none(self, vectors: Any) -> None:
        env = cartpole()
        vector = vectors(SyncVectorEnv([lambda: env]))
        with pytest.raises(ValueError, match="the same environment each time"):
            vector_copies(vector, None)

    def test_copies_are_not_watched(self, vectors: Any) -> None:
        env = vectors(SyncVectorEnv([lambda: wrappers.RenderCollection(cartpole(render_mode="rgb_array"))]))
        assert not isinstance(vector_copies(env, None)[0](), wrappers.RenderCollection)

    def test_nothing_registered_is_needed_where_functions_make_them(self, vectors: Any) -> None:
        assert isinstance(vector_copies(vectors(SyncVectorEnv([Configured])), None)[0](), Configured)

    def test_a_vector_of_ones_own_has_no_single_ones(self) -> None:
        class Own(VectorEnv):
            num_envs = 2

        with pytest.raises(ValueError, match="has no spec"):
            vector_copies(Own(), None)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_pipeline_validates_on_them_and_not_on_others(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = VectorBatchPipeline([lambda: cartpole(max_episode_steps=4)] * 2, NumpyAgent(), 8, is_async, seed=0)
    validation = pipeline.validation_pipeline(3, 0)
    assert validation is not None
    assert [episode.length for episode in next(validation.episodes()).completed] == [4] * 3
    pipeline.teardown()
    normalised = VectorBatchPipeline([lambda: wrappers.NormalizeObservation(cartpole())], NumpyAgent(), 8, is_async)
    assert normalised.validation_pipeline(3, 0) is None
    assert "No automatic validation: its wrapper NormalizeObservation has statistics of its own" in caplog.text
    normalised.teardown()


def test_the_environments_of_an_async_vector_in_a_call_are_left_alone(vectors: Any) -> None:
    env = vectors(AsyncVectorEnv([cartpole]))
    env.reset(seed=0)
    env.step_async(np.array([0]))
    assert vector_copies(env, None)
    assert env.step_wait()[0].shape == (1, 4)
