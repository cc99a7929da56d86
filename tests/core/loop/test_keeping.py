"""Saving the state of a run and putting it back: when, what, and that snapshot and state agree."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.escape_records import ALGORITHM, EscapeOutcome
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.keeping import Keeping
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run import new_run
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.storage.run_keeper import RunKeeper
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError, CheckpointStorageError
from tests.fakes.agents import RememberingAgent
from tests.fakes.escapes import record
from tests.fakes.loops import FixedOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline


class Evolves:
    """A callback with a learner that it saves and restores."""

    def __init__(self, learner: BaseAgent | None = None) -> None:
        self.learner, self.spawned = learner, 0

    def run_state(self) -> dict[str, Any]:
        return {"spawned": self.spawned}

    def write_agents(self, folder: Path) -> None:
        (folder / "variant").write_text("weights")

    def restore_run(self, state: Mapping[str, Any], folder: Path) -> BaseAgent | None:
        assert (folder / "variant").read_text() == "weights"
        self.spawned = state["spawned"]
        return self.learner


class Rig:
    """Saving that is due only where the clock says so: each save takes a second, of a run of none."""

    def __init__(
        self, folder: Path, *, keeps: bool = True, callbacks: Mapping[str, Any] | None = None, agents: Any = None
    ) -> None:
        self.now = 0.0
        self.agent = RememberingAgent()
        self.registry, self.ring = CheckpointRegistry(folder), ResumeRing(folder)
        self.registry.open()
        self.parts = LoopParts(
            agent=self.agent,
            pipeline=ScriptedPipeline([], self.agent),
            val_pipeline=None,
            evaluator=ScoreEvaluator(),
            optimizer=FixedOptimizer(),
            registry=self.registry,
            history=History(folder / "history.jsonl"),
            keeper=RunKeeper(self.ring, lambda: self.now) if keeps else None,
            agents=agents,
        )
        if self.parts.keeper is not None:
            self.parts.keeper.start()
        self.run = new_run(self.parts, LoopConfig(), [], lambda: 0.0)
        self.progress, self.slot = self.run.progress, self.run.slot
        self.keeping = Keeping(self.run, dict(callbacks or {}))

    def newest(self) -> ResumePoint:
        point = self.ring.newest()
        assert point is not None
        return point


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.registry.close()


def never_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunKeeper, "is_due", False)


def test_a_run_that_keeps_nothing_saves_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, keeps=False)
    rig.keeping.save()
    rig.registry.close()
    assert rig.ring.newest() is None


def test_what_is_saved_comes_back(rig: Rig) -> None:
    rig.agent.weight = 2.5
    rig.run.change(window_id=7, env_steps=70, event="drift")
    rig.progress.count_watch("drifts")
    rig.keeping.save()
    before = rig.run.state
    rig.agent.weight, rig.run.state = 0.0, RunState(position=BackoffScheduler().initial())
    assert rig.keeping.restored(rig.newest()) == before
    assert (rig.agent.weight, rig.progress.watch) == (2.5, {"drifts": 1})


def test_a_state_does_not_put_the_next_evaluation_off_for_ever(rig: Rig) -> None:
    scheduler = rig.run.config.scheduler
    position = scheduler.bounded(replace(scheduler.initial(), interval=10**9))
    rig.run.change(window_id=7, next_evaluation=10**9, position=replace(position, interval=10**9))
    rig.keeping.save()
    restored = rig.keeping.restored(rig.newest())
    assert restored.position.interval == position.interval == scheduler.max_interval
    assert restored.next_evaluation == 7 + scheduler.max_interval


def test_a_run_in_which_another_algorithm_learns_is_not_resumed_without_its_agents(rig: Rig) -> None:
    rig.keeping.save()
    point = rig.newest()
    with pytest.raises(CheckpointMismatchError, match=r"An agent of 'dqn' learns .* RLOptimizer\(agents="):
        rig.keeping.restored(replace(point, state={**point.state, "algorithm": "dqn"}))


class Two:
    """Builds an agent of another algorithm."""

    own, other = "RememberingAgent", "NumpyAgent"

    def algorithm_of(self, agent: BaseAgent) -> str:
        return type(agent).__name__

    def build(self, algorithm: str, *, to_learn: bool = False) -> BaseAgent:
        assert algorithm == self.other
        return NumpyAgent()


@pytest.mark.parametrize("rests", [True, False])
def test_the_agent_of_another_algorithm_comes_back_and_the_one_that_rests(tmp_path: Path, rests: bool) -> None:
    rig = Rig(tmp_path, agents=Two())
    assert isinstance(rig.slot, Single)
    rig.slot.replace(other := NumpyAgent())
    other.weight, rig.agent.weight = 1.5, 2.5
    escape = record(ALGORITHM, changes={ALGORITHM: (Two.own, Two.other)})
    if not rests:
        escape = escape.ended(EscapeOutcome.KEPT, window_id=12, env_steps=1200, score=6.0)
    rig.run.change(window_id=12, env_steps=1200, escapes=(escape,))
    rig.keeping.save()
    other.weight = rig.agent.weight = 0.0
    rig.slot.replace(rig.agent)
    rig.keeping.restored(rig.newest())
    assert isinstance(rig.slot.agent, NumpyAgent)
    assert (rig.slot.agent.weight, rig.agent.weight) == (1.5, 2.5 if rests else 0.0)
    rig.registry.close()


class TestWhen:
    def test_a_window_that_is_not_due_is_not_saved(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        never_due(monkeypatch)
        rig.keeping.save()
        assert rig.ring.newest() is None

    def test_a_new_best_is_saved_at_once_and_once(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        never_due(monkeypatch)
        rig.run.change(best=rig.registry.save(rig.agent, EvalMetrics(1.0)))
        rig.keeping.save()
        first = rig.newest().sequence
        rig.keeping.save()
        assert rig.newest().sequence == first

    def test_the_end_of_a_run_is_saved(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        never_due(monkeypatch)
        rig.progress.stop(StopReason.CONVERGED)
        rig.keeping.save()
        assert rig.keeping.restored(rig.newest()).ended is StopReason.CONVERGED

    def test_a_disk_that_refuses_is_counted_and_asked_again(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        never_due(monkeypatch)
        rig.run.change(best=rig.registry.save(rig.agent, EvalMetrics(1.0)))
        save, calls = ResumeRing.save, []

        def full_once(ring: ResumeRing, *arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise CheckpointStorageError("No space left on device")
            return save(ring, *arguments)

        monkeypatch.setattr(ResumeRing, "save", full_once)
        rig.keeping.save()
        rig.keeping.save()
        rig.keeping.save()
        assert (len(calls), rig.progress.health.counts) == (2, {"state": 1})


class TestCallbacks:
    def test_a_learner_that_evolution_had_chosen_learns_again(self, tmp_path: Path) -> None:
        variant, evolves = RememberingAgent(), Evolves()
        rig = Rig(tmp_path, callbacks={"Evolves": evolves})
        evolves.spawned = 3
        rig.keeping.save()
        evolves.spawned, evolves.learner = 0, variant
        rig.keeping.restored(rig.newest())
        assert (rig.slot.agent, evolves.spawned) == (variant, 3)
        rig.registry.close()

    def test_other_callbacks_than_before_are_refused(self, rig: Rig) -> None:
        rig.keeping.save()
        other = Keeping(rig.run, {"Evolves": Evolves()})
        with pytest.raises(CheckpointMismatchError, match="Evolves"):
            other.restored(rig.newest())


@pytest.mark.parametrize("field", ["run", "totals", "drift_detector", "callbacks", "optimizer", "format"])
def test_a_state_that_lacks_something_is_damaged(rig: Rig, field: str) -> None:
    rig.keeping.save()
    point = rig.newest()
    lacking = {name: value for name, value in point.state.items() if name != field}
    with pytest.raises(CheckpointCorruptError, match=r"expected fields|has format None"):
        rig.keeping.restored(replace(point, state=lacking))


@pytest.mark.parametrize("keeps", [False, True])
def test_policies_in_reserve_that_the_run_needs_no_more_are_dropped(tmp_path: Path, keeps: bool) -> None:
    rig = Rig(tmp_path, keeps=keeps)
    commit, hyperparams = rig.registry.commit, rig.agent.get_hyperparams()
    needed, other = (
        commit(rig.registry.stage(rig.agent), EvalMetrics(score), 0, hyperparams, in_reserve=True)
        for score in (1.0, 2.0)
    )
    rig.run.change(reserve=(needed,))
    rig.keeping.save()
    assert [rig.registry.path_of(one).exists() for one in (needed, other)] == [True, False]
    rig.registry.close()
