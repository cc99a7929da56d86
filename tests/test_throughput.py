"""How many environments and where: the decision as a table, and the measurement with a scripted clock."""

import itertools
import logging
import multiprocessing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import throughput
from tensor_optix.errors import EnvironmentFailedError, EnvironmentNotFoundError, InvalidArgumentError
from tensor_optix.throughput import Vectorisation, _RandomAgent, choose_vectorisation, decide
from tests.fakes.environments import Mined


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({"single": 100.0}, "single"),
        ({"single": 100.0, "sync": 90.0}, "single"),
        ({"single": 100.0, "sync": 119.0}, "single"),
        ({"single": 100.0, "sync": 120.0}, "sync"),
        ({"single": 100.0, "sync": 500.0, "async": 599.0}, "sync"),
        ({"single": 100.0, "sync": 500.0, "async": 600.0}, "async"),
        ({"single": 100.0, "sync": 90.0, "async": 119.0}, "single"),
        ({"single": 100.0, "sync": 90.0, "async": 120.0}, "async"),
        ({"single": 100.0, "sync": 119.0, "async": 121.0}, "async"),
        ({"single": 100.0, "async": 121.0}, "async"),
    ],
)
def test_a_more_complex_choice_must_win_clearly(rates: dict[str, float], chosen: str) -> None:
    assert decide(rates) == chosen


def test_what_was_measured_and_chosen_is_said() -> None:
    rates = {"single": 1234.0, "sync": 5000.0, "async": 9000.0}
    assert str(Vectorisation(n_envs=8, async_envs=True, steps_per_second=rates)) == (
        "8 environments in processes of their own (steps a second: single 1,234, sync 5,000, async 9,000)"
    )
    assert str(Vectorisation(n_envs=8, async_envs=False, steps_per_second={})).startswith("8 environments in one")
    assert str(Vectorisation(n_envs=1, async_envs=False, steps_per_second={"single": 1.0})).startswith("1 environment ")


def ticking(seconds: float) -> Any:
    """A clock on which everything takes `seconds`."""
    return (n * seconds for n in itertools.count()).__next__


def test_rates_are_those_of_the_best_window_of_each() -> None:
    found = choose_vectorisation("CartPole-v1", 4, seconds=1.2, clock=ticking(1 / 128))
    # Windows of 1, 2, 4, ..., 256 steps, each in less than a hundredth of a second.
    assert found.steps_per_second == {"single": 256 * 128, "sync": 4 * 256 * 128}
    assert (found.n_envs, found.async_envs) == (4, False)


def test_environments_with_structured_observations_are_measured_as_the_agent_will_see_them() -> None:
    found = choose_vectorisation("Blackjack-v1", 4, seconds=1.2, clock=ticking(1 / 128))
    assert found.steps_per_second.keys() == {"single", "sync"}


def test_slow_environments_are_tried_in_separate_processes_and_leave_none() -> None:
    found = choose_vectorisation("Acrobot-v1", 2, seconds=3.0, clock=ticking(0.5))
    assert set(found.steps_per_second) == {"single", "sync", "async"}
    assert (found.n_envs, found.async_envs) == (2, False)
    assert multiprocessing.active_children() == []


def test_a_pool_has_threads_of_its_own_and_is_not_tried_in_separate_processes() -> None:
    pytest.importorskip("envpool", reason="EnvPool is not installed: pip install 'tensor-optix-core[envpool]'")
    found = choose_vectorisation("EnvPool/CartPole-v1", 2, seconds=0.3, clock=ticking(0.05))
    assert set(found.steps_per_second) == {"single", "sync"}


def test_one_environment_needs_no_comparison() -> None:
    found = choose_vectorisation("CartPole-v1", 1, seconds=0.02)
    assert set(found.steps_per_second) == {"single"}
    assert (found.n_envs, found.async_envs) == (1, False)


def test_it_takes_about_the_time_that_it_is_given() -> None:
    readings: list[float] = []

    def clock() -> float:
        readings.append(0.001 * len(readings))
        return readings[-1]

    found = choose_vectorisation("CartPole-v1", 32, seconds=0.03, clock=clock)
    measured = [end - start for start, end in zip(readings[::2], readings[1::2], strict=True)]
    assert set(found.steps_per_second) == {"single", "sync"}
    assert 0.06 / 3 <= sum(measured) <= 0.06 / 3 + 2 * max(measured)  # two thirds, for the two ways that were measured
    assert all(rate > 100 for rate in found.steps_per_second.values())


def test_fast_environments_take_less_time_than_they_are_given() -> None:
    readings = itertools.count()
    choose_vectorisation("CartPole-v1", 8, seconds=90.0, clock=lambda: 0.001 * next(readings))
    windows = next(readings) // 2
    single, together = 9 + 18, 9 + 1  # 1, 2, 4, ..., 256 steps, then so many of 256, of each environment
    assert windows == single + together


def test_by_default_the_rates_are_measured_on_a_real_clock() -> None:
    found = choose_vectorisation("CartPole-v1", 8, seconds=0.3)
    assert all(rate > 0 for rate in found.steps_per_second.values())


def test_masks_are_kept_to(caplog: pytest.LogCaptureFixture) -> None:
    gym.register("Mined-v0", entry_point=Mined)
    try:
        with caplog.at_level(logging.WARNING):
            choose_vectorisation("Mined-v0", 2, seconds=0.05)
    finally:
        del gym.registry["Mined-v0"]
    assert not caplog.records


def test_where_processes_do_not_work_the_others_are_compared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(throughput.VectorBatchPipeline):
        def __init__(self, *args: Any, async_envs: bool = False, **kwargs: Any) -> None:
            if async_envs:
                raise EnvironmentFailedError("no children here")
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(throughput, "VectorBatchPipeline", Failing)
    found = choose_vectorisation("Pendulum-v1", 2, seconds=3.0, clock=ticking(0.5))
    assert set(found.steps_per_second) == {"single", "sync"}
    assert "no children here" in caplog.text


def test_bad_input() -> None:
    with pytest.raises(EnvironmentNotFoundError, match="CartPole-v1"):
        choose_vectorisation("CartPol-v1", 2)
    with pytest.raises(InvalidArgumentError, match="n_envs"):
        choose_vectorisation("CartPole-v1", 0)


def test_the_random_agent_acts_in_every_space_that_algorithms_serve() -> None:
    for space in (gym.spaces.Discrete(3), gym.spaces.Box(-2, 2, (2,)), gym.spaces.MultiDiscrete([2, 3])):
        agent = _RandomAgent(space)
        assert all(space.contains(action) for action in agent.act_batch(np.zeros((5, 4))))
        assert space.contains(agent.act(np.zeros(4)))


def test_masks_of_several_choices_are_kept_to() -> None:
    agent = _RandomAgent(spaces.MultiDiscrete([2, 3]))
    masks = np.array([[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]], bool)
    for _ in range(20):
        assert agent.act_masked(np.zeros((2, 4)), masks).tolist() == [[0, 2], [1, 0]]
