"""A slot and a worker that is a list of answers."""

import queue
from collections.abc import Callable
from typing import Any

from tensor_optix.errors import ExecutorError, JobCancelledError, JobError
from tensor_optix.executors import Event, Payload
from tensor_optix.executors._link import WorkerLostError
from tensor_optix.executors._slots import MOST_LOSSES, Slot, Task
from tensor_optix.executors.executor import Outcome
from tensor_optix.executors.payload import Frame

DONE = Frame("result", Payload("done"))


class Owner:
    def __init__(self) -> None:
        self.events, self.outcomes = list[Event](), list[Outcome | ExecutorError]()
        self.is_cancelled = False

    def report(self, event: Event, outcome: Outcome | ExecutorError | None = None) -> None:
        self.events.append(event)
        self.outcomes += [] if outcome is None else [outcome]

    @property
    def kinds(self) -> list[tuple[str, int, int]]:
        return [(event.kind, event.index, event.attempt) for event in self.events]


class Link:
    """Answers each call with the next of its frames; raises what is an error, and tells what is a number."""

    def __init__(self, *answers: Frame | Exception | int) -> None:
        self.answers, self.calls, self.asked, self.closed = list(answers), list[int](), list[int](), 0

    def call(self, job: str, index: int, attempt: int, frame: bytes, on_told: Callable[[Any], None]) -> Frame:
        self.calls.append(index)
        while isinstance(answer := self.answers.pop(0), int):
            on_told(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask_to_pause(self, index: int) -> None:
        self.asked.append(index)

    def close(self) -> None:
        self.closed += 1


def served(owner: Owner, n_items: int, *links: Link | ExecutorError) -> None:
    """Let one slot do some items with these workers, one after the other."""
    left = list(links)

    def start() -> Any:
        link = left.pop(0)
        if isinstance(link, ExecutorError):
            raise link
        return link

    tasks = queue.SimpleQueue[Task | None]()
    for index in range(n_items):
        tasks.put(Task("a.b:c", index, Payload(index), owner))
    slot = Slot(tasks, start)
    while len(owner.outcomes) < n_items:
        slot.thread.join(0.01)
    tasks.put(None)
    slot.thread.join()


def test_a_paused_item_goes_on_behind_those_that_wait() -> None:
    owner, link = Owner(), Link(1, 2, Frame("paused", Payload()), DONE, DONE)
    served(owner, 2, link)
    assert link.calls == [0, 1, 0]
    assert link.asked == [0]  # once, however often it tells
    assert owner.outcomes == [Payload("done")] * 2
    assert link.closed == 1


def test_an_item_begins_again_with_another_worker() -> None:
    owner, lost = Owner(), Link(WorkerLostError("killed"))
    served(owner, 1, lost, Link(DONE))
    assert owner.kinds == [("begun", 0, 1), ("lost", 0, 1), ("begun", 0, 2), ("done", 0, 2)]
    assert lost.closed == 1


def test_an_item_that_kills_its_workers_is_given_up_unless_it_gets_on() -> None:
    owner = Owner()
    served(owner, 1, *(Link(WorkerLostError("killed")) for _ in range(MOST_LOSSES)))
    (error,) = owner.outcomes
    assert isinstance(error, JobError)
    assert "given up: its workers died (killed), 3 in all" in str(error)

    owner = Owner()
    served(owner, 1, *(Link(1, WorkerLostError("killed")) for _ in range(2 * MOST_LOSSES)), Link(DONE))
    assert owner.outcomes == [Payload("done")]


def test_nothing_begins_once_it_is_cancelled() -> None:
    owner = Owner()
    owner.is_cancelled = True
    served(owner, 2)
    assert [type(outcome) for outcome in owner.outcomes] == [JobCancelledError] * 2


def test_a_worker_that_cannot_be_started_is_the_owners_error() -> None:
    owner, error = Owner(), ExecutorError("no memory")
    served(owner, 1, error)
    assert owner.outcomes == [error]


def test_an_error_of_the_job_is_the_items() -> None:
    owner = Owner()
    failure = Payload({"type": "ValueError", "message": "bad", "traceback": "where"})
    served(owner, 1, Link(Frame("error", failure)))
    (error,) = owner.outcomes
    assert isinstance(error, JobError)
    assert error.traceback == "where"
