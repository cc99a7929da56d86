"""The items of an executor of processes, and the thread that keeps one worker for them."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tensor_optix.errors import ExecutorError, JobCancelledError, JobError
from tensor_optix.executors._jobs import job_error
from tensor_optix.executors._link import Link, WorkerLostError, job_frame
from tensor_optix.executors.executor import Event, Kind, Outcome
from tensor_optix.executors.payload import Frame, Payload
from tensor_optix.support.plain import Json

logger = logging.getLogger(__name__)

MOST_LOSSES = 3
"""An item with which so many workers in a row have died, without having told anything, is what kills them."""
MOST_ATTEMPTS = 100
"""Of an item, whatever it has told."""


class Owner(Protocol):
    """Whose items they are."""

    @property
    def is_cancelled(self) -> bool:
        """True once no other item is to begin."""
        ...

    def report(self, event: Event, outcome: Outcome | ExecutorError | None = None) -> None:
        """Take what a slot has to say."""
        ...


@dataclass
class Task:
    """An item, and where its outcome goes."""

    job: str
    index: int
    item: Payload
    owner: Owner
    losses: int = 0
    """Workers in a row that died without a sign of progress."""

    def frame(self, attempt: int) -> bytes:
        return job_frame(self.job, self.index, attempt, self.item)

    def tell(
        self, kind: Kind, attempt: int, values: Json = None, outcome: Outcome | ExecutorError | None = None
    ) -> None:
        self.owner.report(Event(kind, self.index, attempt, values), outcome)

    def told(self, attempt: int, values: Json) -> None:
        self.losses = 0
        self.tell("told", attempt, values)

    def lost(self, attempt: int, how: str) -> None:
        self.losses += 1
        if not self.owner.is_cancelled:
            logger.warning("The worker of item %d died (%s): another one begins it again.", self.index, how)
        self.tell("lost", attempt, how)

    def given_up(self, attempt: int, how: str) -> None:
        if self.owner.is_cancelled:
            return self.cancelled(attempt)
        error = JobError(
            f"Item {self.index} of {self.job} was given up: its workers died ({how}), {attempt} in all. Where memory "
            f"is short, use fewer workers."
        )
        error.index, error.item = self.index, self.item.values
        return self.tell("failed", attempt, str(error), error)

    def cancelled(self, attempt: int) -> None:
        error = JobCancelledError(f"Item {self.index} of {self.job} has no result: the jobs were cancelled.")
        self.tell("failed", attempt, str(error), error)

    def ended(self, frame: Frame, attempt: int) -> None:
        if frame.kind == "result":
            self.tell("done", attempt, outcome=frame.payload)
            return
        error = job_error(self.job, self.index, self.item, frame.payload.values)
        self.tell("failed", attempt, str(error), error)


class Slot:
    """A thread that keeps one worker: it lives as long as the worker, which the kernel ends together with it.

    Args:
        tasks: where it takes them from.
        start: starts a worker.
        at_once: True to start it before the first task.
    """

    def __init__(
        self, tasks: "queue.SimpleQueue[Task | None]", start: Callable[[], Link], *, at_once: bool = False
    ) -> None:
        self._tasks, self._start = tasks, start
        self._at_once = at_once
        self.link: Link | None = None
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(ExecutorError, WorkerLostError):  # the first task tries again, and says so
            self.link = self._start() if self._at_once else None
        self.started.set()
        while (task := self._tasks.get()) is not None:
            try:
                self._run(task)
            except ExecutorError as error:
                task.tell("failed", 1, str(error), error)
        if self.link is not None:
            self.link.close()
            self.link = None

    def _run(self, task: Task) -> None:
        task.losses = 0
        for attempt in range(1, MOST_ATTEMPTS + 1):
            if task.owner.is_cancelled:
                return task.cancelled(attempt)
            try:
                self.link = self.link or self._start()
                if task.owner.is_cancelled:
                    return task.cancelled(attempt)
                task.tell("begun", attempt)
                frame = self._answer(self.link, task, attempt)
                return self._tasks.put(task) if frame.kind == "paused" else task.ended(frame, attempt)
            except WorkerLostError as lost:
                if self.link is not None:
                    self.link.close()
                    self.link = None
                task.lost(attempt, str(lost))
                if task.losses >= MOST_LOSSES:
                    return task.given_up(attempt, str(lost))
        return task.given_up(MOST_ATTEMPTS, "again and again")

    def _answer(self, link: Link, task: Task, attempt: int) -> Frame:
        """Return what a worker has answered; it is told once where other items wait for it."""
        is_told = False

        def on_told(values: Json) -> None:
            nonlocal is_told
            task.told(attempt, values)
            if not is_told and not self._tasks.empty():
                is_told = True
                link.ask_to_pause(task.index)

        return link.call(task.job, task.index, attempt, task.frame(attempt), on_told)
