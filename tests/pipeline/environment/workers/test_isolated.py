import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.errors import BadDataError, EnvironmentFailedError
from tensor_optix.pipeline.environment.workers.isolated import IsolatedEnv
from tests.fakes.failing import KILL, RAISE, Walking


class Bad(Walking):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = super().reset(seed=seed)
        return observation * (math.nan if options else 1.0), info

    def step(self, action: int) -> Any:
        observation, _, *rest = super().step(action)
        return (observation, None if action == 3 else 1.0, *rest)


def make_pendulum() -> gym.Env:
    return gym.make("Pendulum-v1")


def test_it_is_the_environment_that_it_runs() -> None:
    env, alone = IsolatedEnv(make_pendulum), make_pendulum()
    assert env.spec == alone.spec
    assert (env.observation_space, env.action_space) == (alone.observation_space, alone.action_space)
    assert str(env) == str(alone)
    assert np.array_equal(env.reset(seed=3)[0], alone.reset(seed=3)[0])
    for action in np.linspace(-2, 2, 5, dtype=np.float32)[:, None]:
        ours, theirs = env.step(action), alone.step(action)
        assert np.array_equal(ours[0], theirs[0])
        assert (ours[1], *ours[2:]) == (float(theirs[1]), *theirs[2:])
    env.close()


@pytest.mark.parametrize(("action", "said"), [(KILL, "died in step"), (RAISE, "raised in step: LookupError")])
def test_after_a_failure_it_begins_anew_with_its_reset(action: int, said: str) -> None:
    env = IsolatedEnv(Walking)
    env.reset(seed=1)
    first = env.worker.process
    with pytest.raises(EnvironmentFailedError, match=said):
        env.step(action)
    with pytest.raises(EnvironmentFailedError, match="ended before"):
        env.step(1)
    assert env.reset(seed=2)[0].tolist() == [0, 2, 0]
    assert env.worker.process != first
    env.close()


def test_a_step_that_is_begun_before_is_taken_once() -> None:
    env = IsolatedEnv(Walking)
    env.reset(seed=1)
    env.begin_step(3)
    assert env.step(3)[:2] == (pytest.approx([0, 1, 1]), 3.0)
    assert env.step(4)[:2] == (pytest.approx([0, 1, 2]), 4.0)
    env.begin_step(5)  # nobody takes it
    assert env.reset(seed=7)[0].tolist() == [0, 7, 0]
    assert env.step(6)[1] == 6.0
    env.begin_step(KILL)
    with pytest.raises(EnvironmentFailedError, match="died in step"):
        env.step(KILL)
    env.begin_step(1)
    with pytest.raises(EnvironmentFailedError, match="ended before"):
        env.step(1)
    env.close()


def test_what_must_not_be_used_is_bad_data_here_too() -> None:
    env = IsolatedEnv(Bad)
    with pytest.raises(BadDataError, match="finite"):
        env.reset(options={"bad": 1})
    env.reset()
    process = env.worker.process
    with pytest.raises(BadDataError, match="reward"):
        env.step(3)
    env.reset()
    assert env.step(2)[1] == 1.0
    assert env.worker.process == process
    env.close()


def test_one_that_grows_is_replaced_between_two_episodes() -> None:
    env = IsolatedEnv(Walking, max_worker_rss=1)
    env.reset()
    first = env.worker.process
    for _ in range(5):
        assert env.worker.process == first
        env.step(1)
    assert env.reset()[1] == {"begun": 1}
    assert env.worker.process != first
    env.close()


@pytest.mark.parametrize("action", [1.0, np.float64(1.0), 1.5])
def test_an_action_of_another_kind_arrives_as_it_is_and_is_refused_as_elsewhere(action: float) -> None:
    env = IsolatedEnv(lambda: gym.make("CartPole-v1"))
    env.reset(seed=0)
    with pytest.raises(EnvironmentFailedError, match=r"raised in step: AssertionError: .*invalid"):
        env.step(action)
    env.close()
