"""What a run writes for whoever looks at it later."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.loop.run_records import RunRecords, describe_environment, has_lines
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EpisodeSummary
from tests.fakes.loops import LoopRig
from tests.helpers import window_of

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[RunRecords]:
    made = RunRecords(tmp_path, lambda: NOW)
    yield made
    made.close()


def test_a_window_tells_its_episodes_and_the_numbers_of_learning(tmp_path: Path, records: RunRecords) -> None:
    told = {"loss": np.float32(0.5), "kl": float("nan"), "kind": "mlp", "count": 3}
    records.window(window_of(7.0, length=4), 2, 12, told)
    (line,) = lines(tmp_path, "windows")
    assert line == {
        "window_id": 2,
        "env_steps": 12,
        "episodes": 1,
        "mean_return": 7.0,
        "mean_length": 4.0,
        "diagnostics": {"loss": 0.5, "count": 3.0},
    }


def test_a_timing_is_what_was_spent_since_the_window_before(tmp_path: Path, records: RunRecords) -> None:
    records.begin({"collect": 10.0, "loop": 1.0}, ["train"])
    records.timing(5, {"collect": 12.5, "loop": 1.25})
    records.timing(6, {"collect": 13.0, "loop": 1.25})
    first, second = lines(tmp_path, "timings")
    assert first == {"window_id": 5, "time": "2030-01-02T03:04:05.000+00:00", "seconds": {"collect": 2.5, "loop": 0.25}}
    assert second["seconds"] == {"collect": 0.5, "loop": 0.0}


def test_a_run_that_never_ends_writes_less_and_less_and_no_time_is_lost(tmp_path: Path, records: RunRecords) -> None:
    assert all(map(has_lines, range(16_384)))
    assert sum(map(has_lines, range(1_000_000))) < 65_536
    assert [id for id in range(65_536, 65_570) if has_lines(id)] == [65_536, 65_544, 65_552, 65_560, 65_568]
    records.begin({"collect": 0.0}, ["train"])
    for window_id in (16_384, 16_385, 16_386):
        records.window(window_of(1.0), window_id, 2 * window_id, {})
        records.timing(window_id, {"collect": float(window_id)})
    assert [line["window_id"] for line in lines(tmp_path, "windows")] == [16_384, 16_386]
    assert [line["seconds"]["collect"] for line in lines(tmp_path, "timings")] == [16_384.0, 2.0]


def test_events_hold_plain_values_only(tmp_path: Path, records: RunRecords) -> None:
    records.event("test", 1, 20, {"score": np.float64(2.0), "std_err": float("nan"), "returns": [1.0]})
    assert lines(tmp_path, "events") == [
        {"event": "test", "window_id": 1, "env_steps": 20, "score": 2.0, "std_err": None, "returns": [1.0]}
    ]


def test_what_was_written_after_a_saved_state_is_dropped(tmp_path: Path, records: RunRecords) -> None:
    records.event("start", 0, 0, {})
    positions = records.positions()
    records.event("state", 1, 10, {})
    records.timing(1, {})
    records.go_back_to(positions)
    records.event("resume", 0, 0, {})
    assert [line["event"] for line in lines(tmp_path, "events")] == ["start", "resume"]
    assert lines(tmp_path, "timings") == []


def test_records_that_have_lost_their_end_are_counted_and_go_on(tmp_path: Path, records: RunRecords) -> None:
    records.event("start", 0, 0, {})
    records.go_back_to({"events.jsonl": 10_000})
    assert records.health.counts == {"records": 1}
    records.event("resume", 0, 0, {})
    assert len(lines(tmp_path, "events")) == 2


def test_a_disk_that_takes_nothing_ends_no_run(tmp_path: Path) -> None:
    records = RunRecords(tmp_path / "absent")
    records.begin({})
    records.event("start", 0, 0, {})
    records.window(window_of(1.0), 0, 1, {})
    assert records.health.counts == {"records": 3}


def test_the_description_of_a_machine_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/somebody"))
    described = describe_environment(["train", "/home/somebody/my_env.py", "--url", "wss://me:secret@feed.example"])
    assert described["command"] == ["train", "~/my_env.py", "--url", "wss://***@feed.example"]
    assert described["packages"]["numpy"] == np.__version__
    assert described["cores"] >= 1
    assert described["processor"]


def test_a_loop_writes_all_of_them(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 2.0, 2.0, 2.0], records=RunRecords(tmp_path, lambda: NOW))
    report = rig.run()
    assert [line["window_id"] for line in lines(tmp_path, "windows")] == list(range(report.windows))
    assert [line["window_id"] for line in lines(tmp_path, "timings")] == list(range(report.windows))
    events = [line["event"] for line in lines(tmp_path, "events")]
    assert (events[0], events[-1]) == ("start", "end")
    assert json.loads((tmp_path / "environment.json").read_text())["python"]
    assert TrainingReport.from_dict(json.loads((tmp_path / "report.json").read_text())) == report


def test_the_share_of_successes_is_told_where_the_environment_tells_it(tmp_path: Path, records: RunRecords) -> None:
    told = (EpisodeSummary(1.0, 2, True), EpisodeSummary(1.0, 2, False), EpisodeSummary(1.0, 2))
    records.window(replace(window_of(7.0, length=6), completed=told), 0, 6, {})
    records.window(replace(window_of(7.0, length=6), completed=told[2:]), 1, 12, {})
    assert [line.get("success_rate") for line in lines(tmp_path, "windows")] == [0.5, None]


def test_the_report_is_written_once_and_whole(tmp_path: Path) -> None:
    records = RunRecords(tmp_path, lambda: NOW)
    rig = LoopRig(tmp_path, [1.0, 2.0, 2.0, 2.0, 2.0], records=records)
    rig.loop.allow_module = "my_env.py"
    report = rig.run()
    assert report.allow_module == "my_env.py"
    assert TrainingReport.from_dict(json.loads((tmp_path / "report.json").read_text())) == report
