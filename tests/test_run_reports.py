"""The report of a run on disk: what is written is read back, and what fresh episodes change of it."""

from pathlib import Path

import pytest

from tensor_optix._run_reports import confirmed_report, read_report, write_report
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.storage.line_log import REPORT
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError
from tests.fakes.reports import report


class TestReport:
    def test_a_run_without_one_has_none(self, tmp_path: Path) -> None:
        assert read_report(tmp_path) is None

    def test_what_is_written_is_read_back(self, tmp_path: Path) -> None:
        write_report(tmp_path, report(best_score=2.5))
        assert read_report(tmp_path) == report(best_score=2.5)

    @pytest.mark.parametrize("broken", [b"", b"{}", b"[]", b"{"])
    def test_a_damaged_one_is_no_missing_one(self, tmp_path: Path, broken: bytes) -> None:
        (tmp_path / REPORT).write_bytes(broken)
        with pytest.raises(CheckpointCorruptError):
            read_report(tmp_path)


def test_a_confirmed_report_tells_what_fresh_episodes_have_shown() -> None:
    returns = [8.0, 10.0, 12.0]
    snapshot = PolicySnapshot(
        snapshot_id="000009",
        sequence=9,
        window_id=30,
        eval_metrics=EvalMetrics(50.0, {"train_score": 11.0}),
        hyperparams=HyperparamSet({"learning_rate": 0.5}),
        created_at="",
    )
    interval = mean_interval(returns)
    confirmed = confirmed_report(report(), snapshot, Path("run/snapshot_000009"), returns, interval)
    assert confirmed.best_score == 10.0
    assert confirmed.best_std_err == pytest.approx(2.0 / 3**0.5)
    assert (confirmed.best_window, confirmed.best_snapshot) == (30, "run/snapshot_000009")
    assert confirmed.generalization_gap == 1.0
    assert (confirmed.hyperparams, confirmed.best_interval, confirmed.confirmed) == (
        {"learning_rate": 0.5},
        interval,
        True,
    )
    assert (confirmed.windows, confirmed.reason) == (report().windows, report().reason)
