"""Jobs in processes of this machine, each started afresh: nothing is forked and nothing is pickled."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tensor_optix.errors import ExecutorError, JobCancelledError, JobError
from tensor_optix.executors._jobs import check_name, job_error
from tensor_optix.executors._link import START_SECONDS, Link, WorkerLostError, job_frame
from tensor_optix.executors.budget import cores, over_budget
from tensor_optix.executors.executor import Event, Executor, Outcome, Watcher
from tensor_optix.executors.payload import Frame, Payload
from tensor_optix.support.arguments import check_amount, check_count
from tensor_optix.support.plain import Json

logger = logging.getLogger(__name__)

MOST_LOSSES = 3
"""An item with which so many workers in a row have died, without having told anything, is what kills them."""
MOST_ATTEMPTS = 100
"""Of an item, whatever it has told."""
GRACE_SECONDS = 30.0
"""A job that is cancelled ends by itself within this time, or with its worker."""


def one_process(threads: int) -> "Processes":
    """Return an executor of one process, which is ended at once where it is cancelled.

    Args:
        threads: of it.
    """
    return Processes(1, threads=threads, grace_seconds=0.0)


class Processes(Executor):
    """Runs items in worker processes, which are started with the first one and stay until `close`.

    Args:
        workers: processes at most.
        threads: of each; workers × threads should be at most the cores, and it is said where it is not.
        grace_seconds: that a cancelled job has to end by itself.
        start_seconds: that a worker has to start.

    Raises:
        InvalidArgumentError: workers or threads below 1, or a negative time.
    """

    def __init__(
        self,
        workers: int,
        *,
        threads: int = 1,
        grace_seconds: float = GRACE_SECONDS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        check_count("workers", workers, 1)
        check_count("threads", threads, 1)
        check_amount("grace_seconds", grace_seconds)
        check_amount("start_seconds", start_seconds)
        self._workers, self._threads = int(workers), int(threads)
        self._grace, self._start_seconds = float(grace_seconds), float(start_seconds)
        self._slots: list[_Slot] = []
        self._imports: tuple[str, ...] = ()
        self._tasks = queue.SimpleQueue[_Task | None]()
        self._reports = queue.SimpleQueue[_Report | None]()
        self._is_cancelled = False
        self._check_budget()

    def _check_budget(self) -> None:
        """Say where workers and their threads are more than the cores."""
        if too_many := over_budget(self._workers, self._threads, cores()):
            logger.warning("%s", too_many)

    def _start_link(self) -> Link:
        """Start a worker."""
        return Link(self._threads, self._start_seconds, self._imports)

    def start(self, imports: Sequence[str] = ()) -> None:
        """Start the workers now, before the first items are known; each imports these modules first."""
        self._imports = tuple(imports)
        while len(self._slots) < self._workers:
            self._slots.append(_Slot(self._tasks, self._start_link, at_once=True))

    def await_start(self) -> None:
        """Wait until the workers that `start` has begun have imported what they were to."""
        for slot in self._slots:
            slot.started.wait()

    @property
    def workers(self) -> int:
        """How many items are run at once."""
        return self._workers

    @property
    def pids(self) -> list[int]:
        """The numbers of the worker processes that there are now."""
        return [link.pid for slot in self._slots if (link := slot.link) is not None]

    def outcomes(self, job: str, items: Sequence[Payload], on_event: Watcher | None = None) -> list[Outcome]:
        """Return what each item has come to, in their order."""
        check_name(job)
        tasks = [_Task(job, index, item, self) for index, item in enumerate(items)]
        for task in tasks:
            task.frame(1)  # what cannot be sent is an error before anything is begun
        self._reports = queue.SimpleQueue()
        for task in tasks:
            self._tasks.put(task)
        while len(self._slots) < min(self._workers, len(tasks)):
            self._slots.append(_Slot(self._tasks, self._start_link))
        found: dict[int, Outcome] = {}
        try:
            self._collect(found, len(tasks), on_event or (lambda event: None))
        except BaseException:
            self.cancel()
            with contextlib.suppress(ExecutorError):
                self._collect(found, len(tasks), lambda event: None)
            raise
        return [found[index] for index in range(len(tasks))]

    def _collect(self, found: dict[int, Outcome], n: int, tell: Watcher) -> None:
        """Wait until each item has an outcome, and tell what happens meanwhile."""
        deadline: float | None = None
        while len(found) < n:
            if self._is_cancelled and deadline is None:
                deadline = time.monotonic() + self._grace
                self._each_link(lambda link: link.cancel())  # whichever kind of link it is
            try:
                report = self._reports.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                deadline = time.monotonic() + self._grace
                self._each_link(lambda link: link.kill())
                continue
            if report is None:  # somebody has called `cancel`
                continue
            if isinstance(report.outcome, ExecutorError):
                found[report.event.index] = JobCancelledError("No worker could be started.")
                raise report.outcome
            if report.outcome is not None:
                found[report.event.index] = report.outcome
            tell(report.event)

    def report(self, event: Event, outcome: Outcome | ExecutorError | None = None) -> None:
        """Take what a slot has to say."""
        self._reports.put(_Report(event, outcome))

    @property
    def is_cancelled(self) -> bool:
        """True once `cancel` was called."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Ask the jobs in progress to end, and begin no other."""
        self._is_cancelled = True
        self._reports.put(None)

    def close(self) -> None:
        """Let the workers go."""
        for _ in self._slots:
            self._tasks.put(None)
        for slot in self._slots:
            if slot.started.is_set():  # else nobody needs to wait: its worker ends by itself
                slot.thread.join()
        self._slots = []

    def _each_link(self, do: Callable[[Link], None]) -> None:
        for link in [slot.link for slot in self._slots]:
            if link is not None:
                do(link)


@dataclass
class _Report:
    event: Event
    outcome: Outcome | ExecutorError | None


@dataclass
class _Task:
    """An item, and where its outcome goes."""

    job: str
    index: int
    item: Payload
    owner: Processes
    losses: int = 0
    """Workers in a row that died without a sign of progress."""

    def frame(self, attempt: int) -> bytes:
        return job_frame(self.job, self.index, attempt, self.item)

    def tell(
        self, kind: Any, attempt: int, values: Json = None, outcome: Outcome | ExecutorError | None = None
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


class _Slot:
    """A thread that keeps one worker: it lives as long as the worker, which the kernel ends together with it.

    Args:
        tasks: where it takes them from.
        start: starts a worker.
        at_once: True to start it before the first task.
    """

    def __init__(
        self, tasks: "queue.SimpleQueue[_Task | None]", start: Callable[[], Link], *, at_once: bool = False
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

    def _run(self, task: _Task) -> None:
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

    def _answer(self, link: Link, task: _Task, attempt: int) -> Frame:
        """Return what a worker has answered; it is told once where other items wait for it."""
        is_told = False

        def on_told(values: Json) -> None:
            nonlocal is_told
            task.told(attempt, values)
            if not is_told and not self._tasks.empty():
                is_told = True
                link.ask_to_pause(task.index)

        return link.call(task.job, task.index, attempt, task.frame(attempt), on_told)
