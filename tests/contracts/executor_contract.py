"""What every executor keeps: the same jobs have the same results, wherever they run."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tensor_optix.errors import BadDataError, InvalidArgumentError, JobCancelledError, JobError
from tensor_optix.executors import Event, Executor, Payload
from tests.fakes.jobs import NAME


class ExecutorContract:
    """Inherit it, and give `make_executor`."""

    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        raise NotImplementedError

    @pytest.fixture
    def executor(self, make_executor: Callable[[], Executor]) -> Iterator[Executor]:
        with make_executor() as executor:
            yield executor

    def test_results_come_in_the_order_of_the_items(self, executor: Executor) -> None:
        items = [Payload(0.06), Payload(0.03), Payload(0.0), Payload(0.0)]
        assert [result.values for result in executor.map(f"{NAME}:late_first", items)] == [0.06, 0.03, 0.0, 0.0]

    def test_values_and_tensors_arrive_bit_for_bit(self, executor: Executor) -> None:
        tensors = {"weights": bytes(range(256)) * 300, "empty": b""}
        (result,) = executor.map(f"{NAME}:double", [Payload([0.1 + 0.2, -math.inf, "ü"], tensors)])
        assert result.values == [0.1 + 0.2, -math.inf, "ü"] * 2
        assert result.tensors == {"weights": tensors["weights"][::-1], "empty": b""}

    def test_no_items_have_no_results(self, executor: Executor) -> None:
        assert executor.map(f"{NAME}:double", []) == []

    def test_a_plain_result_is_a_payload_of_json(self, executor: Executor) -> None:
        assert executor.map(f"{NAME}:plain", [Payload()]) == [Payload({"plain": [1, 2]})]

    def test_progress_arrives_in_the_order_of_each_item(self, executor: Executor) -> None:
        events: list[Event] = []
        results = executor.map(f"{NAME}:tell", [Payload(2), Payload(1)], events.append)
        assert [result.values for result in results] == [[0, 1], [1, 1]]
        for index, steps in ((0, [0, 1]), (1, [0])):
            of_item = [event for event in events if event.index == index]
            assert [event.kind for event in of_item] == ["begun", *["told"] * len(steps), "done"]
            assert [event.values["step"] for event in of_item[1:-1]] == steps

    def test_an_error_arrives_with_its_traceback_and_its_item(self, executor: Executor) -> None:
        with pytest.raises(JobError, match=r"Item 1 of .* ValueError: this item is bad") as raised:
            executor.map(f"{NAME}:fail", [Payload("good"), Payload("fail"), Payload("good")])
        assert (raised.value.index, raised.value.item) == (1, "fail")
        assert 'raise ValueError("this item is bad")' in raised.value.traceback
        assert raised.value.traceback in str(raised.value.__cause__)

    def test_an_error_costs_the_other_items_nothing(self, executor: Executor) -> None:
        good, bad, also_good = executor.outcomes(f"{NAME}:fail", [Payload("a"), Payload("fail"), Payload("b")])
        assert (good, also_good) == (Payload("a"), Payload("b"))
        assert isinstance(bad, JobError)

    def test_a_result_may_be_followed_by_another_item_of_the_same_index(self, executor: Executor) -> None:
        results, events = list[tuple[int, Any]](), list[Event]()

        def following(index: int, result: Payload) -> Payload | None:
            results.append((index, result.values))
            return Payload(result.values) if len(result.values) < 8 * (index + 1) else None

        items = [Payload([0]), Payload([1])]
        found = executor.map(f"{NAME}:double", items, events.append, following)
        assert [result.values for result in found] == [[0] * 8, [1] * 16]
        for index, last in ((0, 8), (1, 16)):
            lengths = [len(values) for of, values in results if of == index]
            assert lengths == [2**n for n in range(1, last.bit_length())]
            assert [e.kind for e in events if e.index == index] == ["begun", "done"] * len(lengths)

    def test_what_follows_does_not_begin_once_the_jobs_are_cancelled(
        self, make_executor: Callable[[], Executor]
    ) -> None:
        with make_executor() as executor:

            def following(index: int, result: Payload) -> Payload:
                executor.cancel()
                return result

            (outcome,) = executor.outcomes(f"{NAME}:double", [Payload([0])], None, following)
            assert isinstance(outcome, JobCancelledError)

    @pytest.mark.parametrize("job", ["double", "a b:c", "module:", ":f", 7, "__main__:f"])
    def test_a_job_must_be_named(self, executor: Executor, job: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"module"):
            executor.map(job, [Payload(1)])

    @pytest.mark.parametrize("job", ["tests.fakes.nowhere:f", f"{NAME}:nothing"])
    def test_a_job_that_cannot_be_imported_is_said_in_a_sentence(self, executor: Executor, job: str) -> None:
        with pytest.raises(JobError, match=r"A worker cannot import '.*PYTHONPATH"):
            executor.map(job, [Payload(1)])

    @pytest.mark.parametrize("item", [Payload(object()), Payload(1, {"weights": "text"})])  # type: ignore[dict-item]
    def test_what_cannot_be_sent_is_refused(self, executor: Executor, item: Payload) -> None:
        with pytest.raises(BadDataError, match="Payload"):
            executor.map(f"{NAME}:double", [item])

    def test_what_cannot_be_sent_back_is_the_jobs_error(self, executor: Executor) -> None:
        with pytest.raises(JobError, match="Payload"):
            executor.map(f"{NAME}:no_payload", [Payload()])

    def test_a_cancelled_job_ends_in_order_and_no_other_begins(self, make_executor: Callable[[], Executor]) -> None:
        with make_executor() as executor:
            begun = []

            def watch(event: Event) -> None:
                if event.kind == "told":
                    begun.append(event.index)
                    if len(begun) == min(executor.workers, 2):
                        executor.cancel()

            first, *_, last = executor.outcomes(f"{NAME}:wait_for_the_end", [Payload(i) for i in range(4)], watch)
            assert first == Payload("ended in order")
            assert isinstance(last, JobCancelledError)
            with pytest.raises(JobCancelledError):
                executor.map(f"{NAME}:double", [Payload(1)])

    def test_an_error_of_the_watcher_ends_the_jobs(self, executor: Executor) -> None:
        def watch(event: Event) -> None:
            raise RuntimeError("the watcher fails")

        with pytest.raises(RuntimeError, match="the watcher fails"):
            executor.map(f"{NAME}:double", [Payload(1), Payload(2)], watch)

    def test_it_may_be_closed_twice(self, executor: Executor) -> None:
        executor.map(f"{NAME}:double", [Payload(1)])
        executor.close()
        executor.close()
