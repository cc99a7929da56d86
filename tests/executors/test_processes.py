import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensor_optix.errors import ExecutorError, InvalidArgumentError, JobCancelledError, JobError
from tensor_optix.executors import Event, Executor, Payload, Processes, _link
from tensor_optix.executors import processes as module
from tests.contracts.executor_contract import ExecutorContract
from tests.fakes.jobs import NAME


@pytest.fixture(autouse=True)
def enough_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 8)


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: Processes(2)


@pytest.fixture
def one() -> Iterator[Processes]:
    with Processes(1) as executor:
        yield executor


def test_a_killed_worker_is_a_fault_and_its_item_begins_again(one: Processes, tmp_path: Path) -> None:
    events: list[Event] = []
    (result,) = one.map(f"{NAME}:die_once", [Payload(str(tmp_path / "mark"))], events.append)
    assert result.values == 2
    assert [(event.kind, event.attempt) for event in events] == [("begun", 1), ("lost", 1), ("begun", 2), ("done", 2)]
    assert events[1].values == "killed by SIGKILL"


def test_a_job_that_pauses_for_others_is_called_again_behind_them(one: Processes, tmp_path: Path) -> None:
    events: list[Event] = []
    items = [Payload(str(tmp_path / name)) for name in "ab"]
    assert one.map(f"{NAME}:take_turns", items, events.append) == [Payload("went on")] * 2
    turns = [(event.kind, event.index) for event in events if event.kind != "told"]
    assert turns == [("begun", 0), ("begun", 1), ("begun", 0), ("done", 0), ("begun", 1), ("done", 1)]


def test_an_item_that_kills_every_worker_is_given_up_and_the_others_are_not(one: Processes) -> None:
    with pytest.raises(JobError, match=r"Item 0 .*given up.*exit code 7.*3 in all"):
        one.map(f"{NAME}:die", [Payload()])
    assert one.map(f"{NAME}:double", [Payload(2)]) == [Payload(4)]


def test_a_worker_that_died_between_two_jobs_is_replaced(one: Processes) -> None:
    one.map(f"{NAME}:double", [Payload(1)])
    (pid,) = one.pids
    os.kill(pid, signal.SIGKILL)
    assert one.map(f"{NAME}:double", [Payload(2)]) == [Payload(4)]
    assert one.pids != [pid]


def test_a_worker_that_is_killed_while_it_starts_is_replaced_too(
    one: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_once = f"""
import os, pathlib, signal
mark = pathlib.Path({str(tmp_path / "mark")!r})
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    monkeypatch.setattr(_link, "_CODE", die_once + _link._CODE)
    events: list[Event] = []
    assert one.map(f"{NAME}:double", [Payload(2)], events.append) == [Payload(4)]
    assert [(event.kind, event.attempt) for event in events] == [("lost", 1), ("begun", 2), ("done", 2)]
    assert events[0].values == "killed by SIGKILL while it started"


def test_workers_stay_have_their_threads_and_go_when_it_is_closed(one: Processes) -> None:
    (first,) = one.map(f"{NAME}:who", [Payload()])
    (second,) = one.map(f"{NAME}:who", [Payload()])
    assert first == second
    assert first.values == [one.pids[0], "1"]
    one.close()
    assert one.pids == []
    with pytest.raises(ProcessLookupError):
        os.kill(first.values[0], 0)


def test_what_a_job_prints_is_no_answer_and_it_reads_nothing(one: Processes) -> None:
    assert one.map(f"{NAME}:print_and_read", [Payload()]) == [Payload("")]


def test_a_job_that_does_not_listen_is_killed_after_the_time_of_grace() -> None:
    with Processes(1, grace_seconds=0.05) as executor:
        (outcome,) = executor.outcomes(f"{NAME}:hang", [Payload()], lambda event: executor.cancel())
    assert isinstance(outcome, JobCancelledError)


def test_it_may_be_cancelled_by_another_thread(one: Processes) -> None:
    def watch(event: Event) -> None:
        if event.kind == "told":
            threading.Thread(target=one.cancel).start()

    assert one.map(f"{NAME}:wait_for_the_end", [Payload()], watch) == [Payload("ended in order")]


def test_workers_that_cannot_start_are_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with Processes(1) as executor, pytest.raises(ExecutorError, match=r"could not be started \(exit code 1\)"):
        executor.map(f"{NAME}:double", [Payload(1), Payload(2)])


def test_a_worker_that_does_not_start_in_time_is_given_up() -> None:
    with Processes(1, start_seconds=0.0) as executor, pytest.raises(ExecutorError, match="killed by SIGKILL"):
        executor.map(f"{NAME}:double", [Payload(1)])


def test_more_workers_than_cores_are_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    with caplog.at_level(logging.WARNING):
        Processes(3, threads=2)
    assert "3 workers with 2 threads each want 6 cores, but there are 2" in caplog.text


@pytest.mark.parametrize(
    ("workers", "how", "message"),
    [(0, {}, "workers"), (1, {"threads": 0}, "threads"), (1, {"grace_seconds": -1}, "grace_seconds")],
)
def test_what_is_out_of_range_is_refused(workers: int, how: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Processes(workers, **how)


def test_workers_that_are_started_early_have_imported_what_they_were_to_before_their_first_job() -> None:
    with Processes(2) as executor:
        executor.start(["colorsys", "no.such.module"])
        executor.await_start()
        before = sorted(executor.pids)
        assert len(before) == 2
        found = executor.map(f"{NAME}:imported", [Payload("colorsys"), Payload("no.such.module")])
        assert [one.values for one in found] == [True, False]
        assert sorted(executor.pids) == before


def test_a_start_that_nobody_waits_for_is_left() -> None:
    executor = Processes(1)
    executor.start(["colorsys"])
    executor.close()


def test_a_worker_that_cannot_be_started_early_is_said_by_its_first_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_link, "_CODE", "raise SystemExit(3)")
    with Processes(1) as executor:
        executor.start()
        executor.await_start()
        with pytest.raises(ExecutorError, match="exit code 3"):
            executor.map(f"{NAME}:double", [Payload(2)])
