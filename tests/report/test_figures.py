"""Episodes, diagnostics and time as figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from tensor_optix.report.curves import PADDING
from tensor_optix.report.figures import time_figure, window_figures
from tensor_optix.report.run_data import RunData
from tests.fakes.run_folders import write_run


@pytest.fixture
def data(tmp_path: Path) -> RunData:
    return RunData.read(write_run(tmp_path / "run", "my_metric"))


def test_each_diagnostic_has_a_figure_and_the_known_ones_come_first(data: RunData) -> None:
    titles = [figure.title for figure in window_figures(data)]
    assert titles[:2] == ["Episode length", "Success rate"]
    assert titles[2:5] == ["Explained variance", "KL divergence of an update", "Clip fraction"]
    assert titles[-1] == "my_metric"


def test_a_diagnostic_that_leaves_its_range_says_so(data: RunData) -> None:
    figures = {figure.title: figure for figure in window_figures(data)}
    assert "10 of 10 windows are outside" in figures["Clip fraction"].sentence
    assert "outside" not in figures["Explained variance"].sentence
    (usual,) = figures["Clip fraction"].layout["shapes"]
    assert (usual["y0"], usual["y1"]) == (0.0, 0.3)


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ([0.001, 0.011], (0.0, 0.021)),  # of what is usual, 0 to 0.3, no more than as much again
        ([0.1, 0.2], (0.0, 0.3)),
        ([0.5, 0.9], (0.1, 0.9)),
        ([0.2, 0.2], (0.0, 0.3)),
    ],
)
def test_what_is_usual_leaves_values_a_third_of_the_height(
    tmp_path: Path, values: list[float], seen: tuple[float, float]
) -> None:
    windows = [{"window_id": n, "env_steps": n, "diagnostics": {"clip_fraction": v}} for n, v in enumerate(values)]
    (figure,) = window_figures(RunData(run_dir=tmp_path, windows=windows))
    bottom, top = figure.layout["yaxis"]["range"]
    padding = PADDING * (seen[1] - seen[0])
    assert (bottom, top) == pytest.approx((seen[0] - padding, seen[1] + padding))


def test_the_time_is_the_reports_or_that_of_the_windows_so_far(data: RunData, tmp_path: Path) -> None:
    ended, running = time_figure(data), time_figure(RunData.read(write_run(tmp_path / "other", ended=False)))
    assert ended is not None
    assert running is not None
    assert dict(ended.rows)["collecting"] == "4.0 s (40%)"
    assert dict(ended.rows)["after the best was found"] == "20% of the steps"
    assert dict(running.rows) == {"collecting": "360.0 s (100%)"}


def test_a_run_without_records_has_no_figures(tmp_path: Path) -> None:
    empty = RunData(run_dir=tmp_path)
    assert (window_figures(empty), time_figure(empty)) == ([], None)


def test_success_is_shown_where_the_environment_tells_it(data: RunData, tmp_path: Path) -> None:
    figures = {figure.key: figure for figure in window_figures(data)}
    assert dict(figures["success"].rows) == {"last, training": "90%"}
    silent = replace(data, windows=[{**window, "success_rate": None} for window in data.windows])
    assert "success" not in {figure.key for figure in window_figures(silent)}


def test_success_on_held_out_episodes_is_beside_it(data: RunData) -> None:
    metrics = {"val_success_rate": 0.25, "val_score": 1.0}
    history = [replace(r, eval_metrics=replace(r.eval_metrics, metrics=metrics)) for r in data.history]
    figures = {figure.key: figure for figure in window_figures(replace(data, history=history))}
    assert dict(figures["success"].rows) == {"last, training": "90%", "last, held-out": "25%"}


def test_a_window_without_a_gradient_step_shows_no_zeros(tmp_path: Path) -> None:
    told = [{"n_updates": n, "mean_q": 1.0 * n, "alpha": 1.0} for n in (0, 2, 3)]
    windows = [{"window_id": n, "env_steps": n, "diagnostics": one} for n, one in enumerate(told)]
    figures = {figure.title: figure for figure in window_figures(RunData(run_dir=tmp_path, windows=windows))}
    assert figures["Mean Q value"].traces[0]["y"] == [2.0, 3.0]
    assert figures["Temperature α"].traces[0]["y"] == [1.0, 1.0, 1.0]
