"""A vector in this process: its steps as lists say the same as its steps as Gymnasium gives them."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.errors import EnvironmentFailedError
from tensor_optix.pipeline.environment.bad_steps import StepCheck
from tensor_optix.pipeline.environment.episodes import BAD_RESETS
from tensor_optix.pipeline.environment.failures import environment_failed
from tensor_optix.pipeline.environment.in_process import InProcessVectorEnv
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tensor_optix.pipeline.environment.vector_state import seeded
from tests.fakes.walk import Walk


class Told(Walk):
    """A walk whose infos say where it is, and which actions are allowed."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        observation, _ = super().reset(**arguments)
        return observation, {"action_mask": np.array([0, 1, 1, 1])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        *rest, _ = super().step(action)
        return *rest, {"place": self.place, "action_mask": np.array([1, 1, 1, int(action)])}  # type: ignore[return-value]


def vector(make: Any = Told, n: int = 3) -> InProcessVectorEnv:
    env = InProcessVectorEnv(seeded(make) for _ in range(n))
    env.reset(seed=5)
    return env


def each_of(env: InProcessVectorEnv) -> list[SeededEpisodes]:
    return cast(list[SeededEpisodes], env.envs)


CHECK = StepCheck(ObservationForm(Walk.observation_space), copies=False)


def test_steps_as_lists_are_those_that_gymnasium_gives() -> None:
    env, other = vector(), vector()
    rng, ended = np.random.default_rng(0), 0
    for _ in range(40):
        actions = rng.integers(1, 4, 3)
        each, (observations, rewards, terminated, truncated, infos) = env.step_each(actions, CHECK), other.step(actions)
        assert [one[0] for one in each.observations] == observations[:, 0].tolist()
        assert (each.rewards, each.terminated) == (rewards.tolist(), terminated.tolist())
        assert each.truncated == truncated.tolist()
        assert each.ended == np.flatnonzero(terminated | truncated).tolist()
        np.testing.assert_array_equal(each.masks, infos["action_mask"] != 0)
        for i in each.ended:
            ended += 1
            assert each.finals.observations[i] == infos["final_obs"][i]
            assert each.infos[i]["place"] == infos["final_info"]["place"][i]
            np.testing.assert_array_equal(each.finals.masks[i], [True, True, True, actions[i] > 0])
    assert ended > 5


def test_a_bad_step_ends_one_episode_and_the_next_begins() -> None:
    env = vector(lambda: Walk(bad_at=2.0), 2)
    each = env.step_each(np.array([3, 1]), CHECK)
    assert (each.ended, each.truncated, each.rewards) == ([0], [True, False], [0.0, 1.0])
    assert list(each.finals.bad) == [0]
    assert "reward" in each.finals.bad[0]
    assert [one.number for one in each_of(env)] == [1, 0]
    assert 0.0 <= each.observations[0][0] < 1.0


class Broken(Walk):
    """It raises at action 0."""

    def step(self, action: Any) -> Any:
        if not action:
            raise RuntimeError("fell over")
        return super().step(action)


def test_a_failure_ends_one_episode_and_the_environment_is_made_anew() -> None:
    env = vector(Broken, 2)
    before = each_of(env)[0].env
    each = env.step_each(np.array([0, 1]), CHECK)
    assert (each.ended, list(each.finals.failed)) == ([0], [0])
    assert "fell over" in each.finals.failed[0]
    assert each_of(env)[0].env is not before
    assert each_of(env)[0].number == 1


def test_resets_that_were_tried_again_are_told() -> None:
    env = vector(lambda: Walk(bad_resets=0), 2)
    each_of(env)[1].env.bad_resets = 2  # type: ignore[attr-defined]
    each_of(env)[1].env.place = 9.5  # type: ignore[attr-defined]
    each = env.step_each(np.array([1, 1]), CHECK)
    assert (each.ended, len(each.resets[1][BAD_RESETS])) == ([1], 2)


def test_what_an_environment_raises_names_it() -> None:
    env = InProcessVectorEnv([lambda: SeededEpisodes(Broken())] * 2)
    env.reset()
    with pytest.raises(RuntimeError) as caught:
        env.step_each(np.array([1, 0]), CHECK)
    failed = environment_failed(env, "step", caught.value)
    assert isinstance(failed, EnvironmentFailedError)
    assert "Environment 1 of 2" in str(failed)


def test_structured_actions_come_apart() -> None:
    class Pair(gym.Env[Any, Any]):
        observation_space = spaces.Discrete(100)
        action_space = spaces.Tuple((spaces.Discrete(10), spaces.Box(0.0, 1.0, (2,), np.float32)))

        def reset(self, **_: Any) -> tuple[int, dict[str, Any]]:
            return 0, {}

        def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
            number, half = action
            return int(number), float(half[1]), False, False, {}

    env = InProcessVectorEnv(seeded(Pair, warns=False) for _ in range(2))
    env.reset()
    actions = (np.array([3, 4]), np.array([[0.0, 0.25], [0.0, 0.5]], np.float32))
    each = env.step_each(actions, StepCheck(ObservationForm(Pair.observation_space)))
    assert (each.observations, each.rewards) == ([3, 4], [0.25, 0.5])
