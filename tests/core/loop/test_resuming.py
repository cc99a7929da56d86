"""What a resumed run goes on from: the state of the parts, callbacks by name, and what is refused."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.history import History, read_history
from tensor_optix.core.loop.parts import LoopParts
from tensor_optix.core.loop.resuming import (
    RUN_FORMAT,
    KeepsRunState,
    by_name,
    paired,
    parts_state,
    restore_parts,
    saved_fields,
    write_agent,
)
from tensor_optix.core.storage.resume_ring import ResumePoint
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError, NonFiniteError
from tests.fakes.agents import RememberingAgent
from tests.fakes.histories import record
from tests.fakes.loops import FixedOptimizer
from tests.helpers import ScoreEvaluator, ScriptedPipeline


class Pipeline(ScriptedPipeline):
    """Has a policy state, and a place in its stream where it is told so."""

    def __init__(self, *, has_place: bool = True) -> None:
        super().__init__([1.0, 2.0, 3.0])
        self.mean, self.has_place = 0.0, has_place
        self.went_back: list[Any] = []

    def state_dict(self) -> dict[str, Any]:
        return {"mean": np.float64(self.mean)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean = state["mean"]

    def stream_state(self) -> dict[str, Any]:
        return {"position": self.position} if self.has_place else {}

    def restore_stream(self, state: Mapping[str, Any]) -> None:
        self.went_back.append(state)
        self.position = state["position"]


class Remembers(ScoreEvaluator):
    seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


class Counts(FixedOptimizer):
    asked = 0

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.asked = state["asked"]


class Rig:
    def __init__(self, folder: Path, *, evaluator: ScoreEvaluator | None = None, has_place: bool = True) -> None:
        self.agent = RememberingAgent(learning_rate=0.3)
        self.pipeline, self.held_out = Pipeline(has_place=has_place), Pipeline()
        self.optimizer, self.evaluator = Counts(), evaluator or Remembers()
        self.parts = LoopParts(
            agent=self.agent,
            pipeline=self.pipeline,
            val_pipeline=self.held_out,
            evaluator=self.evaluator,
            optimizer=self.optimizer,
            registry=CheckpointRegistry(folder / "snapshots"),
            history=History(folder / "history.jsonl"),
        )

    def live(self) -> None:
        """Be in a state that no new rig is in."""
        self.agent.weight, self.agent.params = 2.5, {"learning_rate": 0.125}
        self.pipeline.mean, self.pipeline.position = 7.0, 2
        self.held_out.mean, self.held_out.position = 8.0, 1
        self.optimizer.asked = 4
        if isinstance(self.evaluator, Remembers):
            self.evaluator.seen = 9
        self.parts.history.append(record(0))

    def restore(self, state: Mapping[str, Any], folder: Path) -> None:
        try:
            restore_parts(self.parts, self.agent, state, folder)
        finally:
            self.parts.history.close()

    def save(self, folder: Path) -> dict[str, Any]:
        write_agent(self.agent, folder)
        self.parts.history.close()
        return json.loads(json.dumps(parts_state(self.parts, self.agent), allow_nan=False))


def test_everything_that_the_loop_brings_together_is_put_back(tmp_path: Path) -> None:
    before, after = Rig(tmp_path), Rig(tmp_path)
    before.live()
    state = before.save(tmp_path)
    after.restore(state, tmp_path)
    assert (after.agent.weight, after.agent.params) == (2.5, {"learning_rate": 0.125})
    assert (after.pipeline.mean, after.pipeline.position) == (7.0, 2)
    assert (after.held_out.mean, after.held_out.position) == (8.0, 1)
    assert (after.optimizer.asked, after.parts.evaluator.seen) == (4, 9)  # type: ignore[attr-defined]
    assert [each.window_id for each in after.parts.history] == [0]


def test_the_history_is_cut_where_the_state_was_saved(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.live()
    state = rig.save(tmp_path)
    rig.parts.history.append(record(1))
    rig.parts.history.close()
    rig.restore(state, tmp_path)
    assert [each.window_id for each in read_history(tmp_path / "history.jsonl")] == [0]


def test_a_users_own_draws_go_on_where_they_were(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    state = rig.save(tmp_path)
    drawn = random.random(), float(np.random.random()), float(np.random.standard_normal())  # noqa: NPY002
    rig.restore(state, tmp_path)
    assert (random.random(), float(np.random.random()), float(np.random.standard_normal())) == drawn  # noqa: NPY002


@pytest.mark.parametrize("damaged", [{}, {"python": [3], "numpy": []}])
def test_a_generator_that_does_not_fit_is_named(tmp_path: Path, damaged: dict[str, Any]) -> None:
    rig = Rig(tmp_path)
    state = rig.save(tmp_path) | {"generators": damaged}
    with pytest.raises(CheckpointCorruptError, match="global generator"):
        rig.restore(state, tmp_path)


def test_a_pipeline_without_a_place_in_its_stream_begins_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, has_place=False)
    rig.live()
    rig.restore(rig.save(tmp_path), tmp_path)
    assert not rig.pipeline.went_back
    assert rig.held_out.went_back == [{"position": 1}]


def test_an_evaluator_need_not_have_a_state(tmp_path: Path) -> None:
    plain, stateful = Rig(tmp_path, evaluator=ScoreEvaluator()), Rig(tmp_path)
    state = plain.save(tmp_path)
    assert state["evaluator"] is None
    stateful.evaluator.seen = 5  # type: ignore[attr-defined]
    stateful.restore(state, tmp_path)
    assert stateful.evaluator.seen == 5  # type: ignore[attr-defined]


def point(**state: Any) -> ResumePoint:
    return ResumePoint(1, Path("run/resume_000001"), {"format": RUN_FORMAT, **state})


class TestSavedFields:
    @pytest.mark.parametrize("error", [KeyError("run"), TypeError("no"), ValueError("no"), AttributeError("no")])
    def test_what_a_state_lacks_is_a_damaged_state(self, error: Exception) -> None:
        with (
            pytest.raises(CheckpointCorruptError, match=r"resume_000001.*another pipeline, optimizer"),
            saved_fields(point()),
        ):
            raise error

    @pytest.mark.parametrize("error", [NonFiniteError("loss"), OSError("disk"), KeyboardInterrupt()])
    def test_what_is_no_lack_of_the_state_is_raised_as_it_is(self, error: BaseException) -> None:
        with pytest.raises(type(error)) as raised, saved_fields(point()):
            raise error
        assert raised.value is error

    @pytest.mark.parametrize("format_", [None, RUN_FORMAT - 1, RUN_FORMAT + 1, str(RUN_FORMAT)])
    def test_a_state_of_another_version_says_what_to_do(self, format_: Any) -> None:
        with pytest.raises(CheckpointCorruptError, match="Finish the run with the version that began it"):
            saved_fields(point(format=format_)).__enter__()


class Keeps:
    def run_state(self) -> dict[str, Any]:
        return {}

    def write_agents(self, folder: Path) -> None: ...

    def restore_run(self, state: Mapping[str, Any], folder: Path) -> None: ...


class Other(Keeps): ...


class TestCallbacks:
    def test_a_callback_is_known_by_its_methods(self) -> None:
        assert isinstance(Keeps(), KeepsRunState)
        assert not isinstance(object(), KeepsRunState)

    def test_those_of_one_class_are_numbered_in_their_order(self) -> None:
        one, two, three, other = Keeps(), Keeps(), Keeps(), Other()
        assert by_name([one, other, two, three]) == {"Keeps": one, "Other": other, "Keeps#2": two, "Keeps#3": three}
        assert by_name([]) == {}

    def test_each_gets_what_was_saved_under_its_name_whatever_the_order(self) -> None:
        one, other = Keeps(), Other()
        pairs = paired(by_name([one, other]), {"Other": {"b": 2}, "Keeps": {"a": 1}})
        assert pairs == [(one, {"a": 1}), (other, {"b": 2})]

    @pytest.mark.parametrize("saved", [{}, {"Other": {}}, {"Keeps": {}, "Other": {}}, ["Keeps"]])
    def test_other_callbacks_than_the_run_was_begun_with_are_refused_and_named(self, saved: Any) -> None:
        with pytest.raises(CheckpointMismatchError, match=r"this one has \['Keeps'\]\. Resume it with the callbacks"):
            paired(by_name([Keeps()]), saved)
