"""Jobs in processes of this machine, each started afresh: nothing is forked and nothing is pickled."""

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensor_optix.errors import ExecutorError, JobCancelledError
from tensor_optix.executors._jobs import check_name
from tensor_optix.executors._link import START_SECONDS, Link
from tensor_optix.executors._slots import Slot, Task
from tensor_optix.executors.budget import cores, over_budget
from tensor_optix.executors.executor import Event, Executor, Following, Outcome, Watcher
from tensor_optix.executors.payload import Payload
from tensor_optix.support.arguments import check_amount, check_count

logger = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""A job that is cancelled ends by itself within this time, or with its worker."""


def one_process(threads: int) -> "Processes":
    """Return an executor of one process, which is ended at once where it is cancelled.

    Args:
        threads: of it.
    """
    return Processes(1, threads=threads, grace_seconds=0.0)


@dataclass
class _Report:
    event: Event
    outcome: Outcome | ExecutorError | None


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
        self._slots: list[Slot] = []
        self._imports: tuple[str, ...] = ()
        self._tasks = queue.SimpleQueue[Task | None]()
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
            self._slots.append(Slot(self._tasks, self._start_link, at_once=True))

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

    def outcomes(
        self,
        job: str,
        items: Sequence[Payload],
        on_event: Watcher | None = None,
        following: Following | None = None,
    ) -> list[Outcome]:
        """Return what each item has come to, in their order."""
        check_name(job)
        tasks = [Task(job, index, item, self) for index, item in enumerate(items)]
        for task in tasks:
            task.frame(1)  # what cannot be sent is an error before anything is begun
        self._reports = queue.SimpleQueue()
        for task in tasks:
            self._tasks.put(task)
        while len(self._slots) < min(self._workers, len(tasks)):
            self._slots.append(Slot(self._tasks, self._start_link))
        found: dict[int, Outcome] = {}

        def take(index: int, outcome: Outcome) -> None:
            item = following(index, outcome) if following is not None and isinstance(outcome, Payload) else None
            if item is None:
                found[index] = outcome
            else:
                self._tasks.put(Task(job, index, item, self))

        try:
            self._collect(found, len(tasks), take, on_event or (lambda event: None))
        except BaseException:
            self.cancel()
            with contextlib.suppress(ExecutorError):
                self._collect(found, len(tasks), found.__setitem__, lambda event: None)
            raise
        return [found[index] for index in range(len(tasks))]

    def _collect(self, found: dict[int, Outcome], n: int, take: Callable[[int, Outcome], None], tell: Watcher) -> None:
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
                take(report.event.index, report.outcome)
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
