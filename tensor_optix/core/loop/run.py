"""A run in progress: its state, and what the controller's hands act with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tensor_optix.core.agents_by_algorithm import FittingAgents
from tensor_optix.core.loop.callbacks import CallbackList
from tensor_optix.core.loop.learner import Joint, Single, learner_slot
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.watchdog import Watchdog
from tensor_optix.core.loop_callback import FollowsRun, LoopCallback
from tensor_optix.core.types import EpisodeData


@dataclass(kw_only=True)
class Run:
    """What the hands of the controller share; only they hold it, and only they replace the state."""

    state: RunState
    """Where the run stands between two decisions."""
    parts: LoopParts
    """What the loop is made of."""
    config: LoopConfig
    """The knobs."""
    slot: Single | Joint
    """Where the learner sits."""
    progress: RunProgress
    """Where costs and faults are counted, and why the run is to end."""
    callbacks: CallbackList
    """What is told."""

    def change(self, **fields: object) -> None:
        """Replace fields of the state."""
        self.state = self.state.changed(**fields)

    def tell(self, kind: str, **facts: object) -> None:
        """Write that something was decided, or happened, to the records of the run."""
        if self.parts.records is not None:
            self.parts.records.event(kind, self.state.window_id, self.state.env_steps, facts)

    def tell_start(self, *, is_resumed: bool) -> None:
        """Write on what the run runs, and that it begins or goes on."""
        if self.parts.records is not None:
            self.parts.records.health = self.progress.health
            self.parts.records.begin(self._seconds())
        self.tell("resume" if is_resumed else "start")

    def tell_window(self, data: EpisodeData, diagnostics: Mapping[str, object]) -> None:
        """Write what the window in hand was like, and what `learn` told of it."""
        if self.parts.records is not None:
            self.parts.records.window(data, self.state.window_id, self.state.env_steps, diagnostics)

    def tell_time(self) -> None:
        """Write where the time of the turn went."""
        if self.parts.records is not None:
            self.parts.records.timing(self.state.window_id, self._seconds())

    def _seconds(self) -> dict[str, float]:
        return self.progress.seconds_by_part(self.progress.total_seconds())


def new_run(parts: LoopParts, config: LoopConfig, callbacks: Sequence[LoopCallback], clock: Callable[[], float]) -> Run:
    """Return a run that has not begun.

    Args:
        parts: what the loop is made of.
        config: the knobs.
        callbacks: what is told, in this order.
        clock: monotonic seconds.
    """
    progress = RunProgress(clock)
    progress.watchdog = Watchdog(config.hang_timeout, lambda: progress.health.count("hang"))
    for callback in callbacks:
        if isinstance(callback, FollowsRun):
            callback.follow(parts.registry.directory)
    slot = learner_slot(parts.agent, parts.pipeline, parts.val_pipeline, agents=parts.agents)
    if parts.agents is not None and isinstance(slot, Single):
        parts.registry.agents = FittingAgents(parts.agents, parts.agent, lambda: slot.agent, slot.replace)
    return Run(
        state=RunState(position=config.scheduler.initial()),
        parts=parts,
        config=config,
        slot=slot,
        progress=progress,
        callbacks=CallbackList(callbacks, clock, progress.health),
    )
