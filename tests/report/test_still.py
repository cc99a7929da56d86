"""A figure as a still picture, told in numbers."""

from pathlib import Path

import pytest

from tensor_optix.report.curves import Figure, curve_figure
from tensor_optix.report.figures import time_figure, window_figures
from tensor_optix.report.policy_tests import tests_figure as figure_of_tests
from tensor_optix.report.run_data import RunData
from tensor_optix.report.still import Still, still_of
from tests.fakes.run_folders import write_run


def drawn(traces: list[dict[str, object]], **layout: object) -> Still:
    found = still_of(Figure(key="curve", title="Score", traces=traces, layout=layout))
    assert found is not None
    return found


def line(*y: float, **more: object) -> dict[str, object]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(range(len(y))),
        "y": list(y),
        "line": {"color": "red"},
        **more,
    }


def test_a_line_is_a_path_in_thousandths_of_the_area() -> None:
    (curve,) = drawn([line(0.0, 10.0)], yaxis={"range": [0.0, 20.0]}).curves
    assert (curve.path, curve.stroke, curve.fill) == ("M0 1000L1000 500", "red", "none")


def test_steps_with_marks_are_steps_with_marks() -> None:
    steps = line(0.0, 10.0, mode="lines+markers") | {"line": {"color": "red", "shape": "hv"}}
    still = drawn([steps], yaxis={"range": [0.0, 20.0]})
    assert still.curves[0].path == "M0 1000L1000 1000L1000 500"
    assert still.dots == [(0.0, 100.0, "red"), (100.0, 50.0, "red")]


def test_points_that_fall_together_are_one() -> None:
    (curve,) = drawn([line(0.0, 0.0, 0.0) | {"x": [0, 0.0001, 1.0]}], yaxis={"range": [0, 1]}).curves
    assert curve.path == "M0 1000L1000 1000"


def test_a_band_is_an_area_without_a_line() -> None:
    (curve,) = drawn([line(0.0, 1.0, 0.5, fill="toself", fillcolor="blue")]).curves
    assert (curve.stroke, curve.fill) == ("none", "blue")
    assert curve.path.endswith("Z")


def test_the_grid_has_round_numbers() -> None:
    still = drawn([line(0.0, 25_000.0)], yaxis={"range": [-5000.0, 25_000.0]})
    assert [label for _, label in still.rows] == ["\N{MINUS SIGN}5k", "0", "5k", "10k", "15k", "20k", "25k"]
    assert [label for _, label in still.columns] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    percent = drawn([line(0.0, 1.0)], yaxis={"range": [0.0, 1.0], "tickformat": ".0%"})
    assert percent.rows[-1] == (0.0, "100%")


@pytest.mark.parametrize("y", [[3.0, 3.0], [1e-300, 2e-300], [-1e300, 1e300]])
def test_any_numbers_have_a_grid(y: list[float]) -> None:
    assert 1 <= len(drawn([line(*y)]).rows) <= 7


def test_names_are_those_of_a_legend_as_plain_text() -> None:
    shown = line(1.0, name="a &lt;b&gt;")
    hidden = line(1.0, name="c", showlegend=False)
    band = line(1.0, name="d", fill="toself", fillcolor="blue")
    assert drawn([shown, hidden, band]).names == [("a <b>", "red")]


def test_states_and_what_is_usual_are_behind_the_curves(tmp_path: Path) -> None:
    data = RunData.read(write_run(tmp_path / "run"))
    curve = curve_figure(data)
    assert curve is not None
    still = still_of(curve)
    assert still is not None
    lefts, tops, widths, heights, _ = zip(*still.areas, strict=True)
    assert (lefts[0], sum(widths), set(tops), set(heights)) == (0.0, pytest.approx(100.0), {0.0}, {100.0})
    assert len(still.dots) == 4
    usual = next(figure for figure in window_figures(data) if figure.title == "Explained variance")
    (area,) = [area for area in [still_of(usual)] if area is not None]
    assert [(left, width) for left, _, width, _, _ in area.areas] == [(0.0, 100.0)]


def test_figures_over_names_have_no_still_picture(tmp_path: Path) -> None:
    data = RunData.read(write_run(tmp_path / "run"))
    for figure in (figure_of_tests(data), time_figure(data)):
        assert figure is not None
        assert still_of(figure) is None
