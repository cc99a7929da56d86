"""A schedule has the length of the run, whichever bound ends it, and whoever learns."""

from dataclasses import replace
from typing import Any

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.decisions.schedules import LinearSchedule
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scheduling import Scheduling, schedules_of
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import HyperparamError
from tests.helpers import NumpyAgent

FALLING = {"learning_rate": LinearSchedule(0.8)}
START = RunState(position=BackoffScheduler().initial())


def rates(config: LoopConfig, *, windows: int, steps: int = 100) -> list[float]:
    slot, state, found = Single(NumpyAgent(learning_rate=0.8)), START, []
    scheduling = Scheduling(slot, FALLING, config)
    for _ in range(windows):
        state = state.collected(steps)
        scheduling.put_in_force(state, steps)
        found.append(slot.agent.get_hyperparams().params["learning_rate"])
    return found


@pytest.mark.parametrize(
    "config",
    [
        LoopConfig(max_episodes=4),
        LoopConfig(max_steps=400),
        LoopConfig(max_episodes=4, max_steps=4000),
        LoopConfig(max_episodes=40, max_steps=400),
    ],
)
def test_the_first_window_has_the_first_value_and_the_last_one_more_than_none(config: LoopConfig) -> None:
    assert rates(config, windows=4) == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_beyond_the_bound_nothing_is_left() -> None:
    assert rates(LoopConfig(max_episodes=2), windows=3)[-1] == 0.0


def test_a_run_that_is_made_longer_waits_for_the_schedule() -> None:
    slot = Single(NumpyAgent(learning_rate=0.8))
    half = replace(START, window_id=2, env_steps=300)
    Scheduling(slot, FALLING, LoopConfig(max_episodes=4)).put_in_force(half, 100)
    longer = Scheduling(slot, FALLING, LoopConfig(max_episodes=16))
    found = []
    for window in (3, 8, 9):
        longer.put_in_force(replace(half, window_id=window), 100)
        found.append(slot.agent.get_hyperparams().params["learning_rate"])
    assert found == pytest.approx([0.4, 0.4, 0.35])


def test_a_new_learner_goes_on_where_the_schedule_is() -> None:
    slot = Single(NumpyAgent(learning_rate=0.8))
    slot.install(NumpyAgent(learning_rate=0.8))
    Scheduling(slot, FALLING, LoopConfig(max_episodes=4)).put_in_force(replace(START, window_id=3), 0)
    assert slot.agent.get_hyperparams().params["learning_rate"] == pytest.approx(0.2)


def test_an_agent_that_does_not_follow_is_an_error() -> None:
    class Deaf(NumpyAgent):
        def set_hyperparams(self, hp: HyperparamSet) -> None:
            """Change nothing."""

    with pytest.raises(HyperparamError, match="works with"):
        Scheduling(Single(Deaf(learning_rate=0.8)), FALLING, LoopConfig(max_episodes=4)).put_in_force(
            replace(START, window_id=2), 0
        )


def test_schedules_are_an_agents_own_or_those_of_the_primary_of_several() -> None:
    class Following(NumpyAgent):
        schedules = FALLING

    class Several:
        primary_agent = Following()

    agents: list[Any] = [Following(), Several(), NumpyAgent()]
    assert [schedules_of(agent) for agent in agents] == [FALLING, FALLING, {}]
