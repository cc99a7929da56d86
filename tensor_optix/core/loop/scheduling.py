"""Putting the values of schedules in force, before each window is learned from."""

from collections.abc import Mapping

from tensor_optix.core.decisions.schedules import FollowsSchedules, LinearSchedule, lowered
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.hyperparams import read_back
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.types import HyperparamSet


class Scheduling:
    """Lowers what follows a schedule.

    Args:
        slot: where the learner sits; a learner that takes its place goes on where the schedule is.
        schedules: by the names of hyper-parameters.
        config: the bounds of the run, whose length a schedule has.
    """

    def __init__(self, slot: LearnerSlot, schedules: Mapping[str, LinearSchedule], config: LoopConfig) -> None:
        self._slot = slot
        self._schedules = schedules
        self._config = config

    def put_in_force(self, state: RunState, window_steps: int) -> None:
        """Put the values for a window in force.

        Args:
            state: where the run stands, with the window counted.
            window_steps: its environment steps.

        Raises:
            HyperparamError: a value that is not in force.
        """
        if not self._schedules or self._slot.is_other:
            return
        progress = self._config.progress(state.window_id, state.env_steps - window_steps)
        agent = self._slot.agent
        params = agent.get_hyperparams().params
        due = lowered(params, self._schedules, progress)
        if due:
            agent.set_hyperparams(HyperparamSet({**params, **due}, state.window_id))
            read_back(agent, due)


def schedules_of(agent: object) -> Mapping[str, LinearSchedule]:
    """Return the schedules that an agent follows, or the primary agent of several."""
    learner = getattr(agent, "primary_agent", agent)
    return learner.schedules if isinstance(learner, FollowsSchedules) else {}
