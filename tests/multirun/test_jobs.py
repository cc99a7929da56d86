"""The jobs of workers, on a tiny run in this process."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tensor_optix._run_reports import read_report
from tensor_optix.core.storage.line_log import HISTORY
from tensor_optix.executors import Event, InProcess, Payload, in_process
from tensor_optix.multirun import jobs
from tensor_optix.multirun.jobs import PLAY, TRAIN, Teller, told
from tensor_optix.runs import RunDescription
from tests.fakes.statuses import STATUS
from tests.fakes.tiny_runs import TINY

pytestmark = pytest.mark.usefixtures("short_last_tests")

RUN = dataclasses.replace(TINY, window_size=64, val_episodes=2, max_episodes=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    RUN.write(folder)
    return folder


def train(folder: Path, events: list[Event], executor: InProcess | None = None) -> Any:
    item = Payload({"run_dir": str(folder), "allow_modules": []})
    (result,) = (executor or InProcess()).map(TRAIN, [item], events.append)
    return result.values


def test_a_run_is_trained_to_its_end_told_and_goes_on_after_a_bound_has_moved(trained: Path) -> None:
    events: list[Event] = []
    assert train(trained, events) == {"reason": "max_episodes"}
    steps = [event.values["steps"] for event in events if event.kind == "told"]
    assert steps == [64, 128, 192]
    found = read_report(trained)
    assert found is not None
    assert found.windows == 3
    dataclasses.replace(RUN, max_episodes=4).write(trained)
    events.clear()
    train(trained, events)
    assert [event.values["steps"] for event in events if event.kind == "told"] == [256]


def test_the_best_of_a_run_plays_the_seeds_it_is_given(trained: Path) -> None:
    windows = [[1, 2], [3, 4], [1, 2]]
    item = Payload({"run_dir": str(trained), "allow_modules": [], "windows": windows})
    (result,) = InProcess().map(PLAY, [item])
    first, other, again = result.values["returns"]
    assert first == again != other


def test_a_cancelled_run_is_interrupted_and_can_go_on(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    executor = InProcess()
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if event.kind == "told":
            executor.cancel()

    item = Payload({"run_dir": str(tmp_path), "allow_modules": []})
    (result,) = executor.map(TRAIN, [item], watch)
    assert result.values == {"reason": "interrupted"}
    assert events[-2].values == {"interrupted": True}
    assert train(tmp_path, events) == {"reason": "max_episodes"}


def test_a_run_that_gives_its_worker_to_others_goes_on_to_the_same_end(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAUSE_FACTOR", 0.0)
    monkeypatch.setattr(in_process._Context, "is_waited_for", True)
    windows = RunDescription.read(trained).max_episodes
    dataclasses.replace(RUN, max_episodes=windows).write(tmp_path)
    events: list[Event] = []
    assert train(tmp_path, events) == {"reason": "max_episodes"}
    assert not any("interrupted" in event.values for event in events if event.kind == "told")
    report = read_report(tmp_path)
    assert report is not None
    assert report.windows == windows
    assert (tmp_path / HISTORY).read_bytes() == (trained / HISTORY).read_bytes()


def test_what_is_told_is_json() -> None:
    assert told(STATUS) == {"windows": 12, "steps": 12_000, "state": "COOLING", "score": None, "best": None}


def test_a_teller_without_a_status_says_nothing() -> None:
    class Context:
        index, attempt, is_cancelled = 0, 1, False

        def tell(self, values: object) -> None:
            raise AssertionError

    Teller(Context()).on_window_end(0, None)
