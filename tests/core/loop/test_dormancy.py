"""What follows when a learner has ended: who is asked, in which order, and what is done with the answer."""

from types import SimpleNamespace
from typing import Any

import pytest

from tensor_optix.core.decisions.succession import Continue, Ended, LearnOn, Stop
from tensor_optix.core.loop.dormancy import Dormancy
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.stop_reason import StopReason
from tests.helpers import NumpyAgent


class Answers:
    """A successor of one answer."""

    def __init__(self, answer: Any, *, is_spent: bool = False) -> None:
        self.answer, self.is_spent = answer, is_spent
        self.asked: list[Ended] = []

    def next(self, ended: Ended) -> Any:
        self.asked.append(ended)
        return self.answer


class Rig:
    def __init__(self, *successors: Any, watches: bool = False, escapes: bool = False) -> None:
        self.done: list[Any] = []
        self.progress = RunProgress(lambda: 0.0)
        run: Any = SimpleNamespace(
            state=SimpleNamespace(window_id=7, recent=()),
            let_learn=self.done.append,
            championship=SimpleNamespace(begin=lambda: self.done.append("watch")),
        )
        escaping: Any = SimpleNamespace(goes_on=lambda: self.done.append("escape?") or escapes)
        self.dormancy = Dormancy(run, escaping, successors, self.progress, self.done.append, watches=lambda: watches)

    def next(self, *, is_dormant: bool = True) -> list[Any]:
        self.dormancy.next(is_dormant=is_dormant)
        return self.done


def test_without_a_successor_an_escape_is_tried_before_the_run_has_converged() -> None:
    tried, left = Rig(escapes=True), Rig()
    assert tried.next() == left.next() == ["escape?"]
    assert (tried.progress.reason, left.progress.reason) == (None, StopReason.CONVERGED)


def test_a_run_that_watches_does_so_at_once() -> None:
    rig = Rig(watches=True, escapes=True)
    assert rig.next() == ["watch"]
    assert rig.progress.reason is None


def test_where_a_successor_is_in_charge_no_escape_is_tried() -> None:
    rig = Rig(Answers(Continue()), escapes=True)
    assert rig.next() == []
    assert rig.progress.reason is StopReason.CONVERGED


def test_the_first_answer_that_says_something_counts() -> None:
    agent = NumpyAgent()
    asked = [Answers(Continue()), Answers(LearnOn(agent)), Answers(Stop(StopReason.BUDGET))]
    rig = Rig(*asked)
    assert rig.next() == [agent]
    assert [len(one.asked) for one in asked] == [1, 1, 0]
    assert rig.progress.reason is None


def test_a_stop_is_asked_for_and_then_announced() -> None:
    rig = Rig()
    rig.dormancy = Dormancy(
        SimpleNamespace(state=SimpleNamespace(window_id=7, recent=())),  # type: ignore[arg-type]
        SimpleNamespace(),  # type: ignore[arg-type]
        [Answers(Stop(StopReason.BUDGET, lambda: rig.done.append("told")))],  # type: ignore[list-item]
        rig.progress,
        rig.done.append,
        watches=lambda: False,
    )
    assert rig.next() == [StopReason.BUDGET, "told"]


@pytest.mark.parametrize("is_spent", [False, True])
def test_a_learner_that_could_go_on_is_asked_about_where_its_share_is_spent(is_spent: bool) -> None:
    successor = Answers(Continue(), is_spent=is_spent)
    rig = Rig(successor, escapes=True)
    assert rig.dormancy.is_spent is is_spent
    assert rig.next(is_dormant=False) == []
    assert len(successor.asked) == int(is_spent)
    assert rig.progress.reason is None
