"""The default: one job after the other, in this process."""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from tensor_optix.errors import JobCancelledError
from tensor_optix.executors._jobs import check_name, failure_of, job_error, run
from tensor_optix.executors.executor import Context, Event, Executor, Following, Outcome, Paused, Watcher
from tensor_optix.executors.payload import Payload, crossed
from tensor_optix.support.plain import Json


class InProcess(Executor):
    """Runs each item in the calling thread. What other executors do with the same items has the same results."""

    def __init__(self) -> None:
        self._is_cancelled = False

    @property
    def workers(self) -> int:
        """1."""
        return 1

    def outcomes(
        self,
        job: str,
        items: Sequence[Payload],
        on_event: Watcher | None = None,
        following: Following | None = None,
    ) -> list[Outcome]:
        """Return what each item has come to, in their order."""
        check_name(job)
        tell = on_event or (lambda event: None)
        todo, found = deque(enumerate(items)), dict[int, Outcome]()
        while todo:
            index, item = todo.popleft()
            found[index] = outcome = self._outcome(job, index, item, tell)
            if following is not None and isinstance(outcome, Payload):
                following_item = following(index, outcome)
                todo.extend([] if following_item is None else [(index, following_item)])
        return [found[index] for index in range(len(items))]

    def _outcome(self, job: str, index: int, item: Payload, tell: Watcher) -> Outcome:
        if self._is_cancelled:
            return JobCancelledError(f"Item {index} of {job} was not begun: the jobs were cancelled.")
        item = crossed(item)
        tell(Event("begun", index))
        context = _Context(index, lambda: self._is_cancelled, tell)
        try:
            result = _to_its_end(job, item, context)
        except Exception as error:
            failed = job_error(job, index, item, failure_of(error))
            tell(Event("failed", index, values=str(failed)))
            return failed
        tell(Event("done", index))
        return result

    def cancel(self) -> None:
        """Ask the job in progress to end, and begin no other."""
        self._is_cancelled = True


def _to_its_end(job: str, item: Payload, context: Context) -> Payload:
    while True:
        with contextlib.suppress(Paused):
            return run(job, item, context)


class _Context:
    attempt = 1
    is_waited_for = False  # one item after the other

    def __init__(self, index: int, is_cancelled: Callable[[], bool], watcher: Watcher) -> None:
        self.index, self._asks, self._watcher = index, is_cancelled, watcher

    @property
    def is_cancelled(self) -> bool:
        return self._asks()

    def tell(self, values: Json) -> None:
        self._watcher(Event("told", self.index, values=crossed(Payload(values)).values))
