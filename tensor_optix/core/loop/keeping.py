"""Saving the state of a run between windows, and putting it back: the controller's hands on the resume ring."""

from dataclasses import replace
from pathlib import Path

from tensor_optix.core.decisions.reserve import MOST_RESERVED
from tensor_optix.core.loop.decider import scheduler_of
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.resuming import (
    RUN_FORMAT,
    KeepsRunState,
    paired,
    parts_state,
    read_resting_agent,
    restore_parts,
    saved_fields,
    write_agent,
)
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.storage.resume_ring import ResumePoint
from tensor_optix.core.types import PolicySnapshot, jsonable
from tensor_optix.errors import CheckpointMismatchError
from tensor_optix.support.plain import SavedState


class Keeping:
    """Saves what a resumed run needs, and restores it.

    Args:
        run: what the hands share.
        callbacks: those whose state is part of the run's, by name.
    """

    def __init__(self, run: Run, callbacks: dict[str, KeepsRunState]) -> None:
        self._run = run
        self._callbacks = callbacks
        self._kept_best: PolicySnapshot | None = None
        """The best snapshot that the saved state knows."""

    def save(self) -> None:
        """Save what a resumed run needs, if it is time; always where a snapshot was saved, so that the two agree."""
        keeper, progress, best = self._run.parts.keeper, self._run.progress, self._run.state.best
        has_much = len(self._run.parts.registry.reserve or ()) > 2 * MOST_RESERVED
        if keeper is None:
            self._drop_reserve()
            return
        if keeper.is_due or progress.reason is not None or best is not self._kept_best or has_much:
            with progress.health.surviving_storage("save the run's state", "state"):
                keeper.save(self._write_agents, self._saved)
                self._kept_best = best
                self._drop_reserve()  # a run that resumes from before this needs what is dropped now

    def _drop_reserve(self) -> None:
        registry, needed = self._run.parts.registry, {one.snapshot_id for one in self._run.state.reserve}
        if registry.reserve is not None and registry.reserve != needed:
            with self._run.progress.health.surviving_storage("drop policies in reserve"):
                registry.keep_in_reserve(needed)

    def restored(self, point: ResumePoint) -> RunState:
        """Put everything back as it was saved, and return the state of the run.

        Raises:
            CheckpointMismatchError: the objects are not what the run was begun with.
            CheckpointCorruptError: the state lacks something, or was saved by another version.
        """
        with saved_fields(point):
            saved, parts = point.state, self._run.parts
            for callback, kept in paired(self._callbacks, saved["callbacks"]):
                learner = callback.restore_run(kept, point.folder)
                if learner is not None:
                    self._run.slot.install(learner)
            self._restore_algorithm(saved)
            restore_parts(parts, self._run.slot.agent, saved, point.folder)
            state = self._bounded(RunState.from_dict(saved["run"], parts.history))
            if self._rests(state):
                read_resting_agent(parts.agent, point.folder)
            self._run.progress.go_on_from(saved["totals"], state.ended)
            parts.drift_detector.load_state_dict(saved["drift_detector"])
            if parts.records is not None:
                parts.records.go_back_to(saved.get("records", {}))
        return state

    def _bounded(self, state: RunState) -> RunState:
        """Return the state with the next evaluation no later than it can be: a file does not put it off for ever."""
        scheduler = scheduler_of(state, self._run.config)
        return replace(
            state,
            position=scheduler.bounded(state.position),
            next_evaluation=min(state.next_evaluation, max(state.window_id, 0) + scheduler.max_interval),
        )

    def _write_agents(self, folder: Path) -> None:
        write_agent(self._run.slot.agent, folder)
        if self._rests(self._run.state):
            write_agent(self._run.parts.agent, folder, rests=True)
        for callback in self._callbacks.values():
            callback.write_agents(folder)

    def _saved(self) -> dict[str, object]:
        return {
            "format": RUN_FORMAT,
            "run": replace(self._run.state, ended=self._run.progress.ended).to_dict(),
            "totals": self._run.progress.totals(),
            "records": {} if self._run.parts.records is None else self._run.parts.records.positions(),
            "drift_detector": jsonable(self._run.parts.drift_detector.state_dict()),
            "callbacks": {name: callback.run_state() for name, callback in self._callbacks.items()},
            **self._algorithm(),
            **parts_state(self._run.parts, self._run.slot.agent),
        }

    def _algorithm(self) -> dict[str, object]:
        """Return which algorithm's agent learns, where that is not the run's own."""
        agents, slot = self._run.parts.agents, self._run.slot
        return {} if agents is None or not slot.is_other else {"algorithm": agents.algorithm_of(slot.agent)}

    def _restore_algorithm(self, saved: SavedState) -> None:
        """Let an agent of another algorithm act where one did."""
        agents, slot = self._run.parts.agents, self._run.slot
        if "algorithm" not in saved:
            return
        if agents is None or not isinstance(slot, Single):
            raise CheckpointMismatchError(
                f"An agent of {saved['algorithm']!r} learns in the saved run. Resume it with the agents that it was "
                f"begun with: RLOptimizer(agents=...)."
            )
        slot.replace(agents.build(saved["algorithm"]))

    def _rests(self, state: RunState) -> bool:
        """Return whether the run's own agent may have to learn on: another algorithm's has its place for a time."""
        return self._run.slot.is_other and state.escape is not None and state.escape.is_other_algorithm
