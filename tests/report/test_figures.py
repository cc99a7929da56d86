"""Diagnostics, tests and time as figures."""

from pathlib import Path

import pytest

from tensor_optix.report.figures import tests_figure as figure_of_tests
from tensor_optix.report.figures import time_figure, window_figures
from tensor_optix.report.run_data import RunData
from tests.fakes.run_folders import write_run


@pytest.fixture
def data(tmp_path: Path) -> RunData:
    return RunData.read(write_run(tmp_path / "run", "my_metric"))


def test_each_diagnostic_has_a_figure_and_the_known_ones_come_first(data: RunData) -> None:
    titles = [figure.title for figure in window_figures(data)]
    assert titles[0] == "Episode length"
    assert titles[1:4] == ["Explained variance", "KL divergence of an update", "Clip fraction"]
    assert titles[-1] == "my_metric"


def test_a_diagnostic_that_leaves_its_range_says_so(data: RunData) -> None:
    figures = {figure.title: figure for figure in window_figures(data)}
    assert "100% of the windows are outside" in figures["Clip fraction"].sentence
    assert "outside" not in figures["Explained variance"].sentence
    (usual,) = figures["Clip fraction"].layout["shapes"]
    assert (usual["y0"], usual["y1"]) == (0.0, 0.3)


def test_a_test_shows_both_sides(data: RunData) -> None:
    figure = figure_of_tests(data)
    assert figure is not None
    ours, theirs = figure.traces
    assert (ours["x"], theirs["x"]) == ([3.0, 4.0], [1.0, 2.0])
    assert set(ours["y"]) == set(theirs["y"]) == {"window 3: crowned"}
    assert dict(figure.rows) == {"tests": "1", "of them won": "1"}


def test_the_time_is_the_reports_or_that_of_the_windows_so_far(data: RunData, tmp_path: Path) -> None:
    ended, running = time_figure(data), time_figure(RunData.read(write_run(tmp_path / "other", ended=False)))
    assert ended is not None
    assert running is not None
    assert dict(ended.rows)["collecting"] == "4.0 s (40%)"
    assert dict(ended.rows)["after the best was found"] == "20% of the steps"
    assert dict(running.rows) == {"collecting": "360.0 s (100%)"}


def test_a_run_without_records_has_no_figures(tmp_path: Path) -> None:
    empty = RunData(run_dir=tmp_path)
    assert (window_figures(empty), figure_of_tests(empty), time_figure(empty)) == ([], None, None)
