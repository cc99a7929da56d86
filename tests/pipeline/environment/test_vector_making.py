"""Making vectors: what they are made of, what is refused, and single environments of the same kind."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix.errors import EnvironmentNotFoundError, InvalidArgumentError, SpaceError
from tensor_optix.pipeline.environment.vector_making import vector_of
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv


class Sized(gym.Env[Any, Any]):
    action_space = spaces.Discrete(2)

    def __init__(self, size: int = 2) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape or (), np.float32), {}


def test_a_ready_vector_is_taken_as_it_is() -> None:
    env = SyncVectorEnv([Sized])
    assert vector_of(env, False) == (env, None)
    assert vector_of(env, True)[0] is env
    env.close()


@pytest.mark.parametrize("env_fns", [[Sized, Sized], (Sized, Sized), [lambda: Sized(2)] * 2])
def test_functions_make_one_environment_each_which_reset_in_the_same_step(env_fns: Any) -> None:
    env, makers = vector_of(env_fns, False)
    assert isinstance(env, SyncVectorEnv)
    assert (env.num_envs, env.metadata["autoreset_mode"]) == (2, AutoresetMode.SAME_STEP)
    assert makers == list(env_fns)
    env.close()


def test_environments_may_have_a_process_each() -> None:
    env, _ = vector_of([Sized, Sized], True)
    assert isinstance(env, WorkerVectorEnv)
    env.close()


@pytest.mark.parametrize("bound", [{"step_timeout": 1.0}, {"max_worker_rss": 2**30}])
def test_a_bound_needs_a_process_that_it_can_end(bound: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"needs async_envs=True"):
        vector_of([Sized], False, **bound)


def test_an_id_whose_environments_are_vectorised_is_one_environment() -> None:
    env, makers = vector_of(("CartPole-v1", 3), False)
    assert isinstance(env.unwrapped, CartPoleVectorEnv)
    assert (env.num_envs, makers) == (3, None)
    env.close()


@pytest.mark.parametrize("count", [2, np.int64(2)])
def test_any_other_id_is_made_as_often_as_it_is_asked_for(count: Any) -> None:
    env, makers = vector_of(("Pendulum-v1", count), False)
    assert isinstance(env, SyncVectorEnv)
    assert (env.num_envs, len(makers or ())) == (2, 2)
    env.close()


def test_an_unknown_id_is_named_with_the_nearest() -> None:
    with pytest.raises(EnvironmentNotFoundError, match=r"CartPol-v1.*Did you mean"):
        vector_of(("CartPol-v1", 2), False)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "2"])
def test_a_number_of_environments_is_a_whole_one(count: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"num_envs of \(id, num_envs\)"):
        vector_of(("CartPole-v1", count), False)


@pytest.mark.parametrize(
    "env_fns", [[], (), None, "CartPole-v1", 3, [Sized()], [Sized, "CartPole-v1"], ("CartPole-v1",)]
)
def test_what_makes_no_environments_is_refused_with_what_would(env_fns: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"env_fns must be functions that make environments.*\(id, num_envs\)"
    ):
        vector_of(env_fns, False)


def test_environments_of_one_vector_have_the_same_spaces() -> None:
    with pytest.raises(SpaceError, match="must have the same spaces"):
        vector_of([lambda: Sized(2), lambda: Sized(3)], False)


def test_an_error_of_the_environment_is_its_own() -> None:
    def broken() -> gym.Env:
        raise RuntimeError("no licence")

    with pytest.raises(RuntimeError, match="no licence"):
        vector_of([broken], False)
