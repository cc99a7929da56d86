"""The question to a successor and its answers: plain values, and who counts as a successor."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.succession import Continue, Ended, LearnerSlot, LearnOn, Stop, Successor
from tensor_optix.core.evolution.alone import Alone
from tensor_optix.core.loop.learner import learner_slot
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EvalMetrics
from tests.helpers import NumpyAgent


class Referee:
    def settle(self) -> None: ...

    def roll_back(self, metrics: EvalMetrics) -> bool:
        return False

    def scores_alone(self, agents: Any) -> list[EvalMetrics]:
        return []


def ended(**more: Any) -> Ended:
    values: dict[str, Any] = {
        "window_id": 7,
        "is_dormant": True,
        "history": (EvalMetrics(1.0),),
        "watches": False,
        "referee": Referee(),
    }
    return Ended(**(values | more))


def test_answers_of_the_same_content_are_equal_and_those_of_different_kinds_are_not() -> None:
    agent = NumpyAgent()
    assert LearnOn(agent) == LearnOn(agent) != LearnOn(NumpyAgent())
    assert Stop(StopReason.BUDGET) == Stop(StopReason.BUDGET) != Stop(StopReason.CONVERGED)
    assert Continue() == Continue() != Stop(StopReason.STOPPED)


def test_a_stop_announces_nothing_unless_it_is_told_what() -> None:
    announced: list[int] = []
    assert Stop(StopReason.BUDGET).announce is None
    announce = Stop(StopReason.BUDGET, lambda: announced.append(1)).announce
    assert announce is not None
    announce()
    assert announced == [1]


@pytest.mark.parametrize(
    ("value", "field"),
    [(Stop(StopReason.BUDGET), "reason"), (LearnOn(NumpyAgent()), "agent"), (ended(), "history")],
    ids=["stop", "learn on", "ended"],
)
def test_neither_the_question_nor_an_answer_changes_under_way(value: Any, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)


@pytest.mark.parametrize("missing", [field.name for field in fields(Ended)])
def test_the_question_is_asked_with_everything_that_an_answer_may_depend_on(missing: str) -> None:
    values = {name: value for name, value in vars(ended()).items() if name != missing}
    with pytest.raises(TypeError, match=missing):
        Ended(**values)


class Complete(LoopCallback):
    is_spent = False

    def join(self, slot: LearnerSlot) -> None: ...

    def join_run(self, parts: Mapping[str, Any], space: Any, seed: int | None) -> None: ...

    def next(self, question: Ended) -> Continue:
        return Continue()

    def conclude(self, reason: StopReason) -> None: ...

    def report(self) -> dict[str, Any]:
        return {}


def test_a_callback_is_a_successor_by_its_methods_and_not_by_its_class() -> None:
    assert isinstance(Complete(), Successor)
    assert not isinstance(LoopCallback(), Successor)


@pytest.mark.parametrize("method", ["join", "join_run", "is_spent", "next", "conclude", "report"])
def test_a_callback_that_lacks_one_of_the_methods_only_observes(method: str) -> None:
    partial = type("Partial", (LoopCallback,), {n: v for n, v in vars(Complete).items() if n != method})
    assert not isinstance(partial(), Successor)


def test_the_callback_of_evolution_is_a_successor(registry: CheckpointRegistry) -> None:
    assert isinstance(PolicyManager(registry).as_callback(NumpyAgent(), NumpyAgent), Successor)


def test_evolution_that_no_loop_has_joined_has_a_slot_of_the_same_shape() -> None:
    agent, other = NumpyAgent(), NumpyAgent()
    for slot in (learner_slot(agent), Alone(pool=None, agent=agent)):  # type: ignore[arg-type]
        slot.install(other)
        assert (slot.agent, slot.is_joint) == (other, False)
