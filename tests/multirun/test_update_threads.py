"""Threads by measuring updates: what is asked of whom, what is chosen and said, and that an update is really timed."""

import dataclasses
import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tensor_optix.errors import JobError
from tensor_optix.executors import Payload
from tensor_optix.multirun import update_threads
from tensor_optix.multirun.update_threads import Drawn, measured_threads, time_update, update_seconds
from tensor_optix.runs import RunDescription
from tests.fakes.executors import FakeExecutor

ALGORITHMS = {
    "ppo": {},
    "recurrent_ppo": {},
    "dqn": {"batch_size": 100},
    "sac": {"batch_size": 100},
}


def run_of(algorithm: str = "ppo", **more: Any) -> RunDescription:
    env = "Pendulum-v1" if algorithm == "sac" else "CartPole-v1"
    plain = {"env": env, "algorithm": algorithm, "framework": "torch", "seed": 0, "device": "cpu", "net_arch": [8]}
    return RunDescription(**{**plain, "hyperparams": ALGORITHMS[algorithm], **more})


class Timing:
    """Executors whose job gives the next of some times, or raises."""

    def __init__(self, *outcomes: float | Exception) -> None:
        self.outcomes, self.threads, self.closed, self.runs = list(outcomes), list[int](), 0, list[Any]()

    def __call__(self, threads: int) -> FakeExecutor:
        self.threads.append(threads)
        timing = self

        class Executor(FakeExecutor):
            def close(self) -> None:
                timing.closed += 1

        return Executor({"time_update": self.time})

    def time(self, values: dict[str, Any]) -> dict[str, float]:
        assert values["threads"] == self.threads[-1]
        self.runs.append(RunDescription(**values["run"]))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return {"seconds": outcome}


def test_each_number_has_a_process_of_its_own_and_the_fastest_is_said() -> None:
    timing = Timing(0.8, 0.5, 0.3)
    found = measured_threads(run_of(), make_executor=timing, free=4)
    assert (found.threads, timing.threads, timing.closed, timing.runs) == (4, [1, 2, 4], 3, [run_of()] * 3)
    assert str(found) == (
        "Updating with 4 threads (milliseconds of an update: 1 800, 2 500, 4 300); --threads 4 does the same without "
        "measuring."
    )


def test_it_ends_where_more_are_no_faster() -> None:
    timing = Timing(0.5, 0.6)
    found = measured_threads(run_of(), make_executor=timing, free=8)
    assert (found.threads, timing.threads) == (1, [1, 2])
    assert str(found).startswith("Updating with 1 thread (milliseconds of an update: 1 500, 2 600); --threads 1 ")


def test_where_one_core_is_free_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = Timing()
    assert "no other core is free" in str(measured_threads(run_of(), make_executor=timing, free=1))
    monkeypatch.setattr(update_threads, "cores", lambda: 8)
    monkeypatch.setattr(update_threads.os, "getloadavg", lambda: (7.5, 0.0, 0.0), raising=False)
    assert measured_threads(run_of(), make_executor=timing).free == 1
    monkeypatch.delattr(update_threads.os, "getloadavg")  # as on Windows
    assert measured_threads(run_of(), 8, make_executor=timing).free == 1
    assert timing.threads == []


def test_an_update_that_cannot_be_timed_leaves_what_was_measured() -> None:
    found = measured_threads(run_of(), make_executor=Timing(JobError("it broke")), free=2)
    assert found.threads == 1
    assert str(found).startswith("Updating with 1 thread (an update could not be timed: it broke); ")
    found = measured_threads(run_of(), make_executor=Timing(0.5, 0.2, JobError("it broke")), free=4)
    assert found.threads == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_update_is_timed_once_it_takes_place_and_is_compiled(algorithm: str) -> None:
    seconds = (0.25 * n for n in itertools.count())
    assert update_seconds(run_of(algorithm), seconds=0.5, clock=seconds.__next__) == 0.25


def test_a_job_times_an_update_with_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        made = time_update(Payload({"run": dataclasses.asdict(run_of()), "threads": 1}), context=None)  # type: ignore[arg-type]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert made.values["seconds"] > 0.0


def test_what_is_learned_from_is_drawn_from_the_spaces() -> None:
    env = gym.make("Pendulum-v1")
    drawn = Drawn(env.observation_space, env.action_space)
    first, _ = drawn.reset(seed=3)
    again, _ = drawn.reset(seed=3)
    assert np.array_equal(np.array(first), np.array(again))
    steps = [drawn.step(None) for _ in range(50)]
    assert all(drawn.observation_space.contains(step[0]) for step in steps)
    assert [step[3] for step in steps] == [False] * 49 + [True]
