"""The curve of a run as a figure."""

from pathlib import Path

import numpy as np

from tensor_optix.report.curves import MOST_POINTS, curve_figure, short, thinned
from tensor_optix.report.run_data import RunData
from tests.fakes.run_folders import write_run


def test_a_run_without_evaluations_has_no_curve(tmp_path: Path) -> None:
    assert curve_figure(RunData(run_dir=tmp_path)) is None


def test_the_curve_has_its_band_its_windows_and_its_best(tmp_path: Path) -> None:
    figure = curve_figure(RunData.read(write_run(tmp_path / "run")))
    assert figure is not None
    traces = {trace["name"]: trace for trace in figure.traces}
    assert list(traces) == ["± 1 standard error", "training", "held-out", "new best"]
    assert traces["held-out"]["x"] == [100 * n for n in range(1, 11)]
    assert traces["held-out"]["y"] == [float(n) for n in range(10)]
    assert np.allclose(traces["held-out"]["meta"]["hours"], [0.01 * n for n in range(1, 11)])
    assert traces["new best"]["x"] == [100, 400, 700, 1000]
    assert [(shape["x0"], shape["x1"]) for shape in figure.layout["shapes"]] == [(0, 700), (700, 1000)]


def test_a_long_curve_is_thinned_and_keeps_its_extremes() -> None:
    rng = np.random.default_rng(0)
    points = [(n, float(value), 0.0) for n, value in enumerate(rng.normal(size=20_000))]
    thin = thinned(points)
    assert len(thin) <= MOST_POINTS
    assert {max(points, key=lambda p: p[1]), min(points, key=lambda p: p[1])} <= set(thin)
    assert [x for x, _, _ in thin] == sorted(x for x, _, _ in thin)
    assert thinned(points[:10]) == points[:10]


def test_numbers_are_short() -> None:
    assert [short(value) for value in (1.23456, None, float("nan"))] == ["1.235", "-", "-"]
