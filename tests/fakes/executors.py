"""An executor whose jobs are functions of the test."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensor_optix.errors import JobCancelledError, JobError
from tensor_optix.executors import Event, Executor, Payload
from tensor_optix.executors.executor import Following, Outcome, Watcher


class FakeExecutor(Executor):
    """Calls `jobs[name](values)` for each item; what that raises is the outcome.

    Args:
        jobs: by the name after the colon.
        whole: True to hand over the item and not its values alone.
        workers: that it says it has.
    """

    def __init__(self, jobs: Mapping[str, Callable[[Any], Any]], *, whole: bool = False, workers: int = 2) -> None:
        self._workers = workers
        self.jobs, self.calls, self.is_cancelled, self.whole = dict(jobs), list[tuple[str, Any]](), False, whole

    @property
    def workers(self) -> int:
        return self._workers

    def outcomes(
        self,
        job: str,
        items: Sequence[Payload],
        on_event: Watcher | None = None,
        following: Following | None = None,
    ) -> list[Outcome]:
        name, todo, found = job.partition(":")[2], deque(enumerate(items)), dict[int, Outcome]()
        tell = on_event or (lambda event: None)
        while todo:
            index, item = todo.popleft()
            found[index] = outcome = self._outcome(name, index, item, tell)
            if following is not None and isinstance(outcome, Payload) and (next_ := following(index, outcome)):
                todo.append((index, next_))
        return [found[index] for index in range(len(items))]

    def _outcome(self, name: str, index: int, item: Payload, tell: Watcher) -> Outcome:
        if self.is_cancelled:
            return JobCancelledError("cancelled")
        self.calls.append((name, item.values))
        tell(Event("begun", index))
        try:
            found = self.jobs[name](item if self.whole else item.values)
        except (JobError, JobCancelledError) as error:
            tell(Event("failed", index, values=str(error)))
            return error
        tell(Event("done", index))
        return found if isinstance(found, Payload) else Payload(found)

    def cancel(self) -> None:
        self.is_cancelled = True
