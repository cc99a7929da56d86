"""A vector from its making to its closing: what it raises, whether it is closed, and when it is made again."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix.errors import ContractError, EnvironmentFailedError, InvalidArgumentError
from tensor_optix.pipeline.environment.episodes import FAILED_STEP
from tensor_optix.pipeline.environment.vector_lifetime import VectorLifetime


class Counted(gym.Env[Any, Any]):
    """Counts how often it is closed; raises on action 1."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)
    closed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == 1:
            raise LookupError("the cable is out")
        return np.zeros(1, np.float32), 1.0, False, False, {}

    def close(self) -> None:
        type(self).closed += 1


def test_it_steps_and_resets_as_the_vector_does() -> None:
    lifetime = VectorLifetime([Counted, Counted], False)
    observations, _ = lifetime.reset(seed=1)
    assert observations.shape == (2, 1)
    assert lifetime.step(np.zeros(2, int))[1].tolist() == [1.0, 1.0]
    lifetime.close()


def test_what_an_environment_of_a_ready_made_vector_raises_is_one_typed_error_with_its_cause() -> None:
    lifetime = VectorLifetime(SyncVectorEnv([Counted, Counted]), False)
    lifetime.reset()
    with pytest.raises(EnvironmentFailedError, match=r"Environment 1 of 2, .*LookupError: the cable is out") as raised:
        lifetime.step(np.array([0, 1]))
    assert raised.value.__cause__ is not None
    lifetime.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_one_that_was_made_here_is_made_anew_and_says_so(is_async: bool) -> None:
    lifetime = VectorLifetime([Counted, Counted], is_async)
    lifetime.reset()
    *_, truncated, infos = lifetime.step(np.array([0, 1]))
    assert truncated.tolist() == [False, True]
    told = infos["final_info"][FAILED_STEP][1]
    assert told.startswith("raised in step: LookupError: the cable is out")
    assert "Traceback" in told
    assert lifetime.step(np.array([0, 0]))[1].tolist() == [1.0, 1.0]
    lifetime.close()
    lifetime.reopen()
    assert lifetime.reset()[0].shape == (2, 1)
    lifetime.close()


def test_it_may_be_closed_more_than_once_and_counts_once() -> None:
    lifetime = VectorLifetime([Counted], False)
    for _ in range(3):
        lifetime.close()
    assert lifetime.times_closed == 1


def test_a_vector_that_is_open_is_not_made_again() -> None:
    lifetime = VectorLifetime([Counted], False)
    env = lifetime.env
    lifetime.reopen()
    assert lifetime.env is env
    lifetime.close()
    lifetime.reopen()
    assert lifetime.env is not env
    lifetime.close()
    assert lifetime.times_closed == 2


def test_a_ready_made_vector_is_not_made_again_and_has_no_episodes_of_ours() -> None:
    lifetime = VectorLifetime(SyncVectorEnv([Counted]), False)
    assert not lifetime.has_own_episodes
    assert lifetime.makers is None
    lifetime.reopen()
    lifetime.close()
    with pytest.raises(ContractError, match=r"was closed by teardown\. Make a new one"):
        lifetime.reopen()


@pytest.mark.parametrize(
    ("env_fns", "is_own"), [([Counted], True), (("Pendulum-v1", 2), True), (("CartPole-v1", 2), False)]
)
def test_only_environments_made_one_by_one_reset_with_different_seeds(env_fns: Any, is_own: bool) -> None:
    lifetime = VectorLifetime(env_fns, False)
    assert lifetime.has_own_episodes is is_own
    lifetime.close()


def test_a_vector_without_a_mode_is_refused_when_it_is_handed_over() -> None:
    env = SyncVectorEnv([Counted], autoreset_mode=AutoresetMode.DISABLED)
    env.metadata = {}
    with pytest.raises(InvalidArgumentError, match="autoreset_mode"):
        VectorLifetime(env, False)
    env.close()
