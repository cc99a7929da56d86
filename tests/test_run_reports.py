"""The report of a run on disk: what is written is read back, and what fresh episodes change of it."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tensor_optix._run_reports import (
    check_page_can_be_made,
    confirmed_report,
    keep_page,
    read_report,
    still_confirmed,
    write_report,
)
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.storage.line_log import REPORT
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError, MissingDependencyError
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.report import rendering
from tests.fakes.reports import report
from tests.fakes.run_folders import write_run
from tests.helpers import NumpyAgent, ScriptedPipeline


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
    confirmed = confirmed_report(report(), snapshot, Path("run/snapshot_000009"), returns, interval, 3)
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


def test_a_confirmation_outlives_a_resume_that_finds_no_better_policy() -> None:
    found = replace(report(), best_snapshot="run/snapshot_000009", best_score=12.0, confirmed=False)
    earlier = replace(found, best_score=10.0, confirmed=True, confirmation={"seed": 3, "episodes": 100})
    kept = still_confirmed(replace(found, windows=99), earlier)
    assert (kept.best_score, kept.confirmed, kept.confirmation) == (10.0, True, {"seed": 3, "episodes": 100})
    assert kept.windows == 99
    for other in (
        replace(found, best_snapshot="run/snapshot_000010"),
        replace(found, confirmed=True),  # by the run itself
    ):
        assert still_confirmed(other, earlier) is other
    assert still_confirmed(found, None) is found
    assert still_confirmed(found, replace(earlier, confirmation={})) is found


class TestPage:
    def test_it_is_written_beside_the_report(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")
        keep_page(write_run(tmp_path / "run"))
        assert "Training Complete" in (tmp_path / "run" / "report.html").read_text()

    def test_a_run_ends_well_where_no_page_can_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        keep_page(tmp_path / "absent")
        monkeypatch.setattr(rendering, "plotly_js", lambda: 1 / 0)
        keep_page(write_run(tmp_path / "run"))
        assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]

    def test_what_is_missing_is_said_before_the_training(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "plotly.offline", None)
        with pytest.raises(MissingDependencyError, match=r"report=True needs plotly.*tensor-optix-core\[report\]"):
            check_page_can_be_made()

    @pytest.mark.parametrize("fails", [False, True], ids=["a run that ends", "a run that fails"])
    def test_a_run_leaves_it_where_it_is_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
    ) -> None:
        monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")
        pipeline = ScriptedPipeline([1.0, 2.0])
        if fails:
            monkeypatch.setattr(pipeline, "episodes", lambda: iter(lambda: 1 / 0, None))
        made = RLOptimizer(
            NumpyAgent(), pipeline, val_pipeline=None, checkpoint_dir=tmp_path, max_windows=2, report=True
        )
        with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext():
            made.run()
        assert "<h1>" in (tmp_path / "report.html").read_text()

    def test_a_run_that_is_to_leave_one_says_at_once_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "jinja2", None)
        with pytest.raises(MissingDependencyError, match=r"tensor-optix-core\[report\]"):
            RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0]), report=True)
