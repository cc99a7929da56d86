"""What a vector's environment leaves behind: one typed error that says which failed, in what, and how."""

import os
import signal
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from tensor_optix.errors import EnvironmentFailedError
from tensor_optix.pipeline.environment.failures import (
    FailureReports,
    end_processes,
    environment_failed,
    watch_failures,
)


class Fails(gym.Env[Any, Any]):
    """Raises, or ends its process, when it is told to: by action 1, or in its second reset."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, name: str = "good", *, in_reset: bool = False) -> None:
        self.name, self.in_reset, self.resets = name, in_reset, 0

    def __str__(self) -> str:
        return f"<{self.name}>"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.resets += 1
        if self.in_reset and self.resets > 1:
            raise ValueError("no more episodes")
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == 1:
            raise LookupError("the cable is out")
        if action == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(1, np.float32), 0.0, False, False, {}


def failure_of(env: VectorEnv, doing: str, *arguments: Any) -> EnvironmentFailedError:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever it is, it is turned into one kind
        getattr(env, doing)(*arguments)
    return environment_failed(env, doing, raised.value)


class TestOneProcess:
    def test_the_environment_is_named_with_its_number_and_its_error(self) -> None:
        env = SyncVectorEnv([lambda: Fails("left"), lambda: Fails("right")])
        env.reset()
        error = failure_of(env, "step", np.array([0, 1]))
        assert str(error).startswith("Environment 1 of 2, <right>, failed in step: LookupError: the cable is out.")
        assert "Step it alone in a BatchPipeline" in str(error)
        assert "Traceback" in str(error)
        env.close()

    def test_a_reset_that_fails_is_named_too(self) -> None:
        env = SyncVectorEnv([Fails, lambda: Fails("late", in_reset=True)])
        env.reset()
        assert str(failure_of(env, "reset")).startswith("Environment 1 of 2, <late>, failed in reset: ValueError")
        env.close()

    def test_an_error_outside_of_all_environments_names_the_vector(self) -> None:
        env = SyncVectorEnv([Fails])
        error = environment_failed(env, "step", ValueError("no such action"))
        assert str(error).startswith(f"{env} failed in step: ValueError: no such action")
        env.close()


class TestProcesses:
    def vector(self) -> AsyncVectorEnv:
        env = AsyncVectorEnv([lambda: Fails("left"), lambda: Fails("right")])
        watch_failures(env)
        return env

    @pytest.mark.filterwarnings("ignore")
    def test_the_report_of_a_worker_says_which_and_how(self) -> None:
        env = self.vector()
        env.reset()
        error = failure_of(env, "step", np.array([0, 1]))
        assert str(error).startswith("Environment 1 of 2 failed in step: LookupError: the cable is out.")
        assert "in step" in str(error).split("Its traceback:")[1]
        end_processes(env)

    @pytest.mark.filterwarnings("ignore")
    def test_a_process_that_was_killed_is_named_with_its_signal(self) -> None:
        env = self.vector()
        env.reset()
        error = failure_of(env, "step", np.array([2, 0]))
        assert str(error).startswith("Environment 0 of 2 failed in step: its process was ended by signal 9")
        assert "out of memory?" in str(error)
        end_processes(env)

    def test_ended_processes_are_gone_and_to_end_them_again_is_no_error(self) -> None:
        env = self.vector()
        end_processes(env)
        assert env.closed
        assert not any(process.is_alive() for process in env.processes)
        end_processes(env)

    def test_reports_are_kept_once_however_often_a_vector_is_watched(self) -> None:
        env = self.vector()
        kept = env.error_queue
        watch_failures(env)
        assert isinstance(kept, FailureReports)
        assert env.error_queue is kept
        end_processes(env)


def test_the_last_report_is_kept_and_passed_on() -> None:
    class Queue:
        reports = [(0, ValueError, "first", ""), (1, LookupError, "second", "")]

        def get(self, timeout: float) -> Any:
            assert timeout > 0.0  # a worker that cannot pickle its error never sends one
            return self.reports.pop(0)

    kept = FailureReports(Queue())
    assert kept.last is None
    assert [kept.get()[2], kept.get()[2]] == ["first", "second"]
    assert kept.last is not None
    assert kept.last[0] == 1


def test_a_vector_of_one_process_is_neither_watched_nor_ended() -> None:
    env = SyncVectorEnv([Fails])
    watch_failures(env)
    end_processes(env)
    assert env.reset()[0].shape == (1, 1)
    env.close()
