"""The contract of what runs jobs, and what a job is told."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeAlias

from tensor_optix.errors import JobCancelledError, JobError
from tensor_optix.executors.payload import Payload
from tensor_optix.support.plain import Json


class Context(Protocol):
    """What a job knows of itself, and how it tells how far it is."""

    index: int
    """Which of the items it has."""
    attempt: int
    """1, and one more for each worker that was lost with this item. A job with effects goes on from them."""

    @property
    def is_cancelled(self) -> bool:
        """True as soon as the job is to end; one that looks ends in order, with a result."""
        ...

    @property
    def is_waited_for(self) -> bool:
        """True once other items wait for this worker. A job that can go on later may save, and raise `Paused`."""
        ...

    def tell(self, values: Json) -> None:
        """Report progress: JSON values, which arrive as an `Event` of kind `"told"`."""
        ...


class Paused(Exception):  # noqa: N818 - no error
    """Raised by a job that goes on later: the items that wait come first, then it is called with its own again."""


Job: TypeAlias = Callable[[Payload, Context], Payload]
"""What a name such as `"package.module:function"` must lead to."""


Kind: TypeAlias = Literal["begun", "told", "lost", "done", "failed"]
"""Of an event. `"lost"`: the worker died, and the item begins again with another one."""


@dataclass(frozen=True)
class Event:
    """What happens to an item, told in the thread that called `map`."""

    kind: Kind
    index: int
    attempt: int = 1
    values: Any = None
    """What the job told; of `"lost"`, how the worker died."""


Watcher: TypeAlias = Callable[[Event], None]
Following: TypeAlias = Callable[[int, Payload], Payload | None]
"""Takes the result of an item, and returns what is run next by the same index; None where it is the last."""
Outcome: TypeAlias = Payload | JobError | JobCancelledError


class Executor(ABC):
    """Runs a job on each of several items, and gives the results in the order of the items.

    A job is named, not passed: `"package.module:function"`, which every worker can import. It takes a `Payload` and a
    `Context` and returns a `Payload`. A worker that dies is a fault and no verdict: another one takes its place, and
    its item begins again.
    """

    def map(
        self,
        job: str,
        items: Sequence[Payload],
        on_event: Watcher | None = None,
        following: Following | None = None,
    ) -> list[Payload]:
        """Return the results, in the order of the items.

        All items are run to their end before an error is raised.

        Args:
            job: `"package.module:function"`.
            items: one per call of the job.
            on_event: told what happens to each item.
            following: called with each result, in the order in which they come, by the thread that calls this; what it
                returns is run in the place of the item, whose result it then is.

        Raises:
            JobError: of the first item, in their order, whose job has raised; with its traceback and its item.
            JobCancelledError: `cancel` was called before all results were there.
            ExecutorError: no worker can be started.
        """
        outcomes = self.outcomes(job, items, on_event, following)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Payload)]

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many items are run at once."""

    @abstractmethod
    def outcomes(
        self,
        job: str,
        items: Sequence[Payload],
        on_event: Watcher | None = None,
        following: Following | None = None,
    ) -> list[Outcome]:
        """Return what each item has come to, an error included, where one must not cost the others; see `map`."""

    @abstractmethod
    def cancel(self) -> None:
        """Ask the jobs in progress to end, and begin no other; may be called by a signal, and holds for good."""

    def close(self) -> None:  # noqa: B027 - an optional hook
        """Let the workers go; may be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
