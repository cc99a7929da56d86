"""The figures of a comparison."""

from pathlib import Path

import numpy as np
import pytest

from tensor_optix.report.comparison import Comparison
from tensor_optix.report.comparison_figures import (
    COLOURS,
    curve_figures,
    estimate_text,
    improvement_figure,
    profile_figure,
    score_figures,
    styles,
)
from tensor_optix.report.comparison_results import Results
from tensor_optix.report.curves import Figure
from tensor_optix.report.statistics import Estimate
from tests.fakes.compared_runs import write_compared, write_several


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def several(tmp_path: Path) -> Comparison:
    return Comparison.read(write_several(tmp_path, ("A-v0", "B-v0")))


@pytest.fixture
def results(several: Comparison) -> Results:
    return Results.of(several, rng())


def names(figure: Figure) -> list[str]:
    return [trace["name"] for trace in figure.traces if "name" in trace]


def test_each_environment_has_curves_with_bands(several: Comparison) -> None:
    figures = curve_figures(several, rng())
    assert [figure.title for figure in figures] == ["Scores on A-v0", "Scores on B-v0"]
    assert names(figures[0]) == ["dqn", "ppo"]
    assert sum("fill" in trace for trace in figures[0].traces) == 2
    assert dict(figures[0].rows) == dict.fromkeys(("dqn", "ppo"), "7 at the end, of 3 runs")


def test_a_run_that_has_ended_keeps_its_last_score(tmp_path: Path) -> None:
    runs = [write_compared(tmp_path / "short", 1.0), write_compared(tmp_path / "long", 1.0, ended=False)]
    (figure,) = curve_figures(Comparison.read(runs), rng())
    (curve,) = [trace for trace in figure.traces if "name" in trace]
    assert (curve["x"][0], curve["x"][-1]) == (100.0, 1000.0)
    assert (curve["y"][0], curve["y"][-1]) == (0.0, 8.0)  # the mean of 7, where the one ended, and 9


def test_one_run_has_a_curve_and_no_band(tmp_path: Path) -> None:
    (figure,) = curve_figures(Comparison.read([write_compared(tmp_path / "a", 1.0)]), rng())
    assert len(figure.traces) == 1


def test_runs_without_evaluations_have_no_curve(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"env": "A-v0"}')
    empty = Comparison.read([tmp_path])
    found = Results.of(empty, rng())
    assert (curve_figures(empty, rng()), score_figures(empty, found)) == ([], [])
    assert (improvement_figure(found), profile_figure(empty, found)) == (None, None)


def test_scores_have_their_intervals(several: Comparison, results: Results) -> None:
    figures = score_figures(several, results)
    assert [figure.title for figure in figures] == [
        "Best scores over all environments",
        "Best scores on A-v0",
        "Best scores on B-v0",
    ]
    (dqn, ppo) = figures[1].traces
    assert (ppo["x"], dqn["x"]) == ([20.0], [120.0])
    assert ppo["error_x"]["arrayminus"] == [pytest.approx(10.0)]
    assert dict(figures[1].rows)["ppo (3 runs)"] == "20  [10, 30]"


def test_an_improvement_is_drawn_beside_even_chances(results: Results) -> None:
    figure = improvement_figure(results)
    assert figure is not None
    assert figure.traces[0]["y"] == ["dqn beats ppo"]
    assert figure.layout["shapes"][0]["x0"] == 0.5
    assert dict(figure.rows)["dqn beats ppo"].startswith("100%")


def test_the_profile_says_where_half_of_the_runs_are(several: Comparison, results: Results) -> None:
    figure = profile_figure(several, results)
    assert figure is not None
    assert names(figure) == ["dqn", "ppo"]
    assert all(text.startswith("half of its runs") for _, text in figure.rows)


def test_many_groups_are_told_apart_by_dashes() -> None:
    found = styles([str(n) for n in range(len(COLOURS) + 1)])
    assert found["0"] == (COLOURS[0], "solid")
    assert found[str(len(COLOURS))] == (COLOURS[0], "dash")


@pytest.mark.parametrize(
    ("found", "form", "text"),
    [
        (Estimate(value=1.23456, low=None, high=None), "", "1.235"),
        (Estimate(value=0.5, low=0.25, high=0.75), ".0%", "50%  [25%, 75%]"),
    ],
)
def test_a_number_stands_with_its_interval(found: Estimate, form: str, text: str) -> None:
    assert estimate_text(found, form) == text


def test_a_group_alone_needs_no_figure_of_its_score(tmp_path: Path) -> None:
    alone = Comparison.read([write_compared(tmp_path / str(n), 1.0 * n) for n in range(3)])
    assert score_figures(alone, Results.of(alone, rng())) == []
