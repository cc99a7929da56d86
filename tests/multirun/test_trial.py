"""The job of a trial, on a tiny run in this process."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import MissingDependencyError
from tensor_optix.executors import Event, InProcess, Payload
from tensor_optix.multirun import trial as module
from tensor_optix.multirun.search import search_run
from tensor_optix.multirun.trial import TRY, Hope, curve_of, try_run
from tests.fakes.run_folders import history_line, write_lines
from tests.fakes.tiny_runs import TINY

RUN = search_run(dataclasses.replace(TINY, val_episodes=1, max_steps=192))
WELL = [[[window, 1000.0] for window in range(8)]] * 4
"""Curves that no run comes near."""


def item(folder: Path, references: Any = (), patience: int = 0) -> Payload:
    about = {"run_dir": str(folder), "allow_modules": [], "windows": [[1], [2]]}
    return Payload({**about, "references": list(references), "patience": patience})


def test_a_run_is_trained_for_its_budget_and_plays_the_common_episodes_and_is_not_trained_twice(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    events: list[Event] = []
    (found,) = InProcess().map(TRY, [item(tmp_path)], events.append)
    assert (found.values["steps"], found.values["is_pruned"], found.values["is_interrupted"]) == (192, False, False)
    assert len(found.values["returns"]) == 2
    assert [window for window, _ in found.values["curve"]] == list(range(6))
    events.clear()
    (again,) = InProcess().map(TRY, [item(tmp_path)], events.append)
    assert again == found
    assert [event.kind for event in events] == ["begun", "done"]


def test_a_run_without_hope_ends_early_also_when_it_is_asked_again(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    (found,) = InProcess().map(TRY, [item(tmp_path, WELL)])
    assert found.values["is_pruned"]
    assert found.values["steps"] < 192
    assert len(found.values["returns"]) == 2
    assert InProcess().map(TRY, [item(tmp_path, WELL)]) == [found]


def test_a_cancelled_run_is_interrupted(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    executor = InProcess()

    def watch(event: Event) -> None:
        if event.kind == "told":
            executor.cancel()

    assert executor.map(TRY, [item(tmp_path)], watch) == [Payload({"is_interrupted": True})]


def test_a_worker_without_optuna_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingDependencyError):
        try_run(item(tmp_path, WELL), None)  # type: ignore[arg-type]


def test_hope_is_judged_by_what_the_run_has_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Any]()
    monkeypatch.setattr(module, "is_hopeless", lambda curve, *others: asked.append(curve) or curve.get(9) == 1.0)
    write_lines(tmp_path / "history.jsonl", [history_line(1, 4.0), history_line(5, 6.0), history_line(9, 7.0)])
    stops = list[None]()
    hope = Hope(tmp_path, [{0: 1.0}], 3)
    hope.stop = lambda: stops.append(None)
    hope.on_window_end(7, EvalMetrics(5.0, {}, 7))
    hope.on_window_end(8, None)
    assert (asked, stops) == ([{1: 4.0, 5: 6.0, 7: 5.0}], [])
    hope.on_window_end(9, EvalMetrics(1.0, {}, 9))
    assert len(stops) == 1


def test_no_history_is_no_curve(tmp_path: Path) -> None:
    assert curve_of(tmp_path) == {}
