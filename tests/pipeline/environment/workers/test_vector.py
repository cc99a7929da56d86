import gc
import logging
import os
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix.errors import ContractError, EnvironmentFailedError
from tensor_optix.pipeline.environment.episodes import FAILED_RESETS, FAILED_STEP
from tensor_optix.pipeline.environment.vector_state import seeded
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tests.fakes.failing import HANG, KILL, RAISE, Walking, walking
from tests.fakes.rich import Rich, Texts, flat


@pytest.mark.parametrize("kind", [Walking, Rich, Texts])
def test_it_gives_what_gymnasiums_vector_gives(kind: type[Walking]) -> None:
    makers: list[Any] = [lambda i=i: kind(i) for i in range(2)]
    ours = WorkerVectorEnv(makers)
    theirs = SyncVectorEnv([seeded(make) for make in makers], autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.metadata == theirs.metadata
    assert ours.observation_space == theirs.observation_space
    assert flat(ours.reset(seed=5)) == flat(theirs.reset(seed=5))
    ours.action_space.seed(1)
    for _ in range(12):
        actions = ours.action_space.sample()
        if kind is not Rich:
            actions = actions % 5
        assert flat(ours.step(actions)) == flat(theirs.step(actions))
    mask = {"reset_mask": np.array([False, True])}
    assert flat(ours.reset(options=dict(mask))) == flat(theirs.reset(options=dict(mask)))
    for vector in (ours, theirs):
        vector.close()


def test_whoever_fails_the_others_notice_nothing_and_it_is_back_in_the_same_step() -> None:
    env = WorkerVectorEnv(walking(4), step_timeout=6.0, sleep=lambda _: None)
    env.reset(seed=0)
    env.step(np.ones(4, int))
    observations, rewards, terminated, truncated, infos = env.step(np.array([2, HANG, KILL, RAISE]))
    assert (rewards.tolist(), terminated.any(), truncated.tolist()) == ([2, 0, 0, 0], False, [False, True, True, True])
    assert observations[:, 2].tolist() == [2, 0, 0, 0]
    told = infos["final_info"][FAILED_STEP]
    assert told[0] is None
    assert [text.split()[0] for text in told[1:]] == ["hung", "died", "raised"]
    assert FAILED_RESETS not in infos
    observations, *_ = env.step(np.ones(4, int))
    assert observations[:, 2].tolist() == [3, 1, 1, 1]
    processes = [worker.process for worker in env.workers]
    env.close()
    assert not any(is_there(process) for process in processes)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_episode_that_ended_well_is_kept_where_the_reset_after_it_fails() -> None:
    env = WorkerVectorEnv([lambda: Walking(0, ("reset", 2))], sleep=lambda _: None)
    env.reset(seed=0)
    for _ in range(5):
        observations, rewards, terminated, _, infos = env.step(np.array([3]))
    assert (rewards.tolist(), terminated.tolist()) == ([3.0], [True])
    assert infos["final_obs"][0].tolist() == [0, 0, 5]
    assert infos[FAILED_RESETS][0][0].startswith("raised in reset: LookupError")
    assert observations[0, 2] == 0
    env.close()


def test_where_no_reset_succeeds_three_failures_are_told_and_nobody_waits_for_ever() -> None:
    env = WorkerVectorEnv([lambda: Walking(0, ("reset", 1))], sleep=lambda _: None)
    observations, infos = env.reset(seed=0)
    assert observations.shape == (1, 3)
    assert len(infos[FAILED_RESETS][0]) == 3
    env.close()


def test_one_that_grows_is_replaced_between_episodes_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    env = WorkerVectorEnv(walking(1), max_worker_rss=1)
    env.reset(seed=0)
    first = env.workers[0].process
    with caplog.at_level(logging.WARNING):
        begun = [env.step(np.array([1]))[4] for _ in range(10)]
    assert env.workers[0].process != first
    assert [info["begun"].tolist() for info in begun if "begun" in info] == [[1], [1]]  # each in a new process
    assert not any(FAILED_RESETS in info or FAILED_STEP in info.get("final_info", {}) for info in begun)
    assert len([one for one in caplog.records if "max_worker_rss" in one.message]) == 1
    env.close()


def test_attributes_are_asked_for_and_set() -> None:
    env = WorkerVectorEnv(walking(2))
    env.set_attr("steps", [3, 4])
    assert env.get_attr("steps") == (3, 4)
    assert env.call("__str__") == ("<walking 0>", "<walking 1>")
    with pytest.raises(ValueError, match="one per environment"):
        env.set_attr("steps", [1])
    with pytest.raises(ContractError, match="observation_space of an environment is a Box"):
        env.get_attr("observation_space")
    with pytest.raises(EnvironmentFailedError, match="raised in call"):
        env.call("nothing")
    assert env.reset(seed=1)[0].shape == (2, 3)  # it was made anew
    env.close()


class Untold(Walking):
    def step(self, action: int) -> Any:
        return (*super().step(action)[:4], {"steps": self.steps, "lock": threading.Lock()})


def test_what_an_info_cannot_hand_out_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    env = WorkerVectorEnv([Untold])
    env.reset()
    with caplog.at_level(logging.WARNING):
        infos = [env.step(np.array([1]))[4] for _ in range(2)]
    assert [info["steps"].tolist() for info in infos] == [[1], [2]]
    assert [one.message for one in caplog.records] == [
        "Infos are without lock (lock): its process does not hand it out."
    ]
    env.close()


def test_one_that_is_never_closed_leaves_no_process() -> None:
    env: gym.vector.VectorEnv = WorkerVectorEnv(walking(1))
    process = env.workers[0].process  # type: ignore[attr-defined]
    del env
    gc.collect()
    assert not is_there(process)


def test_actions_of_another_kind_arrive_as_they_are_and_are_refused_as_elsewhere() -> None:
    env = WorkerVectorEnv([lambda: gym.make("CartPole-v1")] * 2, sleep=lambda _: None)
    env.reset(seed=0)
    *_, truncated, infos = env.step(np.ones(2))
    assert truncated.all()
    assert all("raised" in told and "invalid" in told for told in infos["final_info"][FAILED_STEP])
    env.step(np.ones(2, int))
    env.close()
