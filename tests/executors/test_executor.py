from collections.abc import Sequence

import pytest

from tensor_optix.errors import JobCancelledError, JobError
from tensor_optix.executors.executor import Executor, Following, Outcome, Payload, Watcher


class Fixed(Executor):
    """Has these outcomes, whatever is to be done."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.found, self.closed = list(outcomes), 0
        self.workers_, self.job = 1, ""

    @property
    def workers(self) -> int:
        return self.workers_

    def outcomes(
        self,
        job: str,
        items: Sequence[Payload],
        on_event: Watcher | None = None,
        following: Following | None = None,
    ) -> list[Outcome]:
        self.job = job
        return self.found

    def cancel(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


def test_map_returns_results_or_raises_the_first_error() -> None:
    assert Fixed(Payload(1), Payload(2)).map("a:b", []) == [Payload(1), Payload(2)]
    with pytest.raises(JobError, match="first"):
        Fixed(Payload(1), JobError("first"), JobCancelledError("second")).map("a:b", [])


def test_a_block_closes_it() -> None:
    with Fixed() as executor:
        assert executor.closed == 0
    assert executor.closed == 1
