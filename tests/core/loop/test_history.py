import json
import math
import os
import signal
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.loop.history import History, HistoryRecord, read_history
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import CheckpointCorruptError, CheckpointStorageError, TensorOptixError
from tests.conftest import Goal
from tests.fakes.histories import COMMIT, record


def test_a_record_of_an_earlier_version_is_read() -> None:
    plain = record(2).to_dict()
    del plain["tuning"], plain["is_best"]
    assert HistoryRecord.from_dict(plain) == record(2)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"best_score": None, "probed_param": None},
        {"verdict": "flat", "state": "cooling", "interval": 8},
        {"hyperparams": HyperparamSet({})},
        {"eval_metrics": EvalMetrics(-3.0, {}, 4, has_evidence=False)},
        {"is_best": True, "tuning": (COMMIT,)},
    ],
)
def test_a_record_round_trips_through_json(fields: dict[str, Any]) -> None:
    original = record(3, **fields)
    assert HistoryRecord.from_dict(json.loads(json.dumps(original.to_dict(), allow_nan=False))) == original


def test_a_record_without_evidence_comes_back_without_evidence() -> None:
    original = record(eval_metrics=EvalMetrics(math.nan, {"loss": math.inf}, 0, has_evidence=False))
    plain = json.loads(json.dumps(original.to_dict(), allow_nan=False))
    assert plain["eval_metrics"]["primary_score"] is None
    rebuilt = HistoryRecord.from_dict(plain)
    assert math.isnan(rebuilt.eval_metrics.primary_score)
    assert math.isnan(rebuilt.eval_metrics.metrics["loss"])
    assert not rebuilt.eval_metrics.has_evidence


def test_numpy_numbers_are_written_as_plain_ones() -> None:
    original = record(best_score=np.float32(0.5), env_steps=np.int64(7))
    assert HistoryRecord.from_dict(json.loads(json.dumps(original.to_dict()))) == record(best_score=0.5, env_steps=7)


def test_memory_is_bounded_and_everything_is_on_disk(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl", in_memory=3)
    records = [record(n) for n in range(10)]
    for n, each in enumerate(records):
        history.append(each)
        assert len(history) == min(n + 1, 3)
        assert list(read_history(tmp_path / "history.jsonl")) == records[: n + 1]  # each line is there at once
    assert list(history) == records[-3:]
    history.close()


def test_every_record_is_one_line_of_strict_json(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.append(record(0, hyperparams=HyperparamSet({"note": "two\nlines"})))
    history.append(record(1, eval_metrics=EvalMetrics(math.nan)))
    history.close()
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["window_id"] for line in lines] == [0, 1]


def test_a_history_that_was_closed_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.close()  # nothing was opened yet
    history.append(record(0))
    history.close()
    history.close()
    history.append(record(1))
    history.close()
    later = History(path)  # another run continues the file
    later.append(record(2))
    later.close()
    assert [each.window_id for each in read_history(path)] == [0, 1, 2]
    assert [each.window_id for each in history] == [0, 1]


def test_nothing_is_written_before_the_first_record(tmp_path: Path) -> None:
    History(tmp_path / "history.jsonl").close()
    assert list(tmp_path.iterdir()) == []


def test_a_history_that_cannot_be_written_or_read_is_a_storage_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "history.jsonl"
    with pytest.raises(CheckpointStorageError, match=r"Could not write .*nowhere/history\.jsonl"):
        History(path).append(record())
    with pytest.raises(CheckpointStorageError, match=r"Could not read .*nowhere/history\.jsonl"):
        read_history(path)


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_last_line_that_a_crash_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    for n in range(3):
        history.append(record(n))
    history.close()
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(read_history(path)) == [record(0), record(1)]


def test_an_empty_history_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text("")
    assert list(read_history(tmp_path / "history.jsonl")) == []


def test_a_history_goes_on_after_a_line_that_a_crash_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    first = History(path)
    first.append(record())
    first.close()
    with path.open("a") as file:
        file.write('{"window_id": 1, "env')
    second = History(path)
    second.append(record())
    second.close()
    assert len(list(read_history(path))) == 2


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_nothing_is_cut_or_written_through_a_link_in_place_of_the_history(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    outside, path = tmp_path / "outside.txt", tmp_path / "history.jsonl"
    outside.write_text("precious\n")
    link(outside, path)
    for use in (
        lambda: History(path).go_back_to(0),
        lambda: History(path).append(record()),
        lambda: read_history(path),
    ):
        with pytest.raises(TensorOptixError, match=r"history\.jsonl"):
            use()
    assert outside.read_text() == "precious\n"


def test_a_history_goes_back_and_remembers_the_newest_records_only(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    for n in range(5):
        history.append(record(n))
    position = history.position()
    history.append(record(5))
    history.close()
    again = History(path, in_memory=3)
    again.go_back_to(position)
    assert [each.window_id for each in again] == [2, 3, 4]
    assert path.stat().st_size == position
    again.append(record(6))
    again.close()
    assert [each.window_id for each in read_history(path)] == [0, 1, 2, 3, 4, 6]


def test_only_the_end_of_a_long_history_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    for n in range(10):
        history.append(record(n))
    history.close()
    line = path.stat().st_size // 10
    monkeypatch.setattr("tensor_optix.core.storage.line_log.MAX_TAIL_BYTES", 2 * line + line // 2)
    again = History(path)
    again.go_back_to(path.stat().st_size)
    assert [each.window_id for each in again] == [8, 9]


def test_a_history_that_is_shorter_than_the_state_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match="has 0 bytes, but the saved state of the run goes with 7"):
        History(tmp_path / "history.jsonl").go_back_to(7)


def test_a_line_that_the_disk_takes_half_of_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.append(record(0))
    size = history.position()
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
        for _ in range(2):
            with pytest.raises(CheckpointStorageError, match=r"Could not write .*history\.jsonl"):
                history.append(record(1))
            assert history.position() == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    history.append(record(2))
    history.close()
    assert [each.window_id for each in read_history(path)] == [0, 2]


def test_records_are_read_one_at_a_time_and_a_damaged_line_says_which_it_is(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    line = json.dumps(record(0).to_dict()) + "\n"
    path.write_text(line * 2 + line.replace("verdict", "verdikt") + line)
    records = read_history(path)
    assert [next(records), next(records)] == [record(0)] * 2
    with pytest.raises(CheckpointCorruptError, match=r"Line 3 of .*verdikt.*verdict"):
        next(records)


def test_reading_a_long_history_holds_one_record(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text((json.dumps(record(0).to_dict()) + "\n") * 2000)
    sum(1 for _ in read_history(path))  # what is made once for all
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_history(path)) == 2000
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_long_history_is_read_at_200_000_lines_a_second(tmp_path: Path, timing: Goal) -> None:
    path, lines = tmp_path / "history.jsonl", 1_000_000
    values = HyperparamSet({"learning_rate": 3e-4, "gamma": 0.99, "entropy_coef": 0.01, "clip_ratio": 0.2})
    metrics = EvalMetrics(12.5, {"mean_return": 12.5, "score_std_err": 0.3, "loss": math.nan, "kl": 0.01})
    block = (json.dumps(record(3, hyperparams=values, eval_metrics=metrics).to_dict()) + "\n").encode() * 1000
    with path.open("wb") as file:
        for _ in range(lines // 1000):
            file.write(block)
    begun = time.process_time()
    assert sum(1 for _ in read_history(path)) == lines
    speed = lines / (time.process_time() - begun)
    timing("history", ">= 200,000 lines/s", f"{speed:,.0f} lines/s of processor time", speed >= 200_000)
