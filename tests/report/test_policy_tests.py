"""The tests of policies, as figures and in words."""

from dataclasses import replace
from pathlib import Path

import pytest

from tensor_optix.report.policy_tests import last_tests_figure, rows_of_tests
from tensor_optix.report.policy_tests import tests_figure as figure_of_tests
from tensor_optix.report.run_data import RunData
from tests.fakes.run_folders import LAST_TEST, played, write_run


@pytest.fixture
def data(tmp_path: Path) -> RunData:
    return RunData.read(write_run(tmp_path / "run"))


def test_a_test_shows_both_sides(data: RunData) -> None:
    figure = figure_of_tests(data)
    assert figure is not None
    ours, theirs = figure.traces
    assert (ours["x"], theirs["x"]) == ([3.0, 4.0], [1.0, 2.0])
    assert set(ours["y"]) == set(theirs["y"]) == {"window 3: crowned"}
    assert dict(figure.rows) == {"tests": "1", "of them won": "1"}


def test_a_best_that_did_not_play_again_is_there_with_its_score(data: RunData) -> None:
    alone = {"event": "test", "window_id": 5, "returns": [3.0, 4.0], "incumbent_returns": [], "outcome": "refused"}
    first, second = {**alone, "incumbent_score": None}, {**alone, "window_id": 6, "incumbent_score": 3.75}
    figure = figure_of_tests(replace(data, events=[first, second]))
    assert figure is not None
    drawn = {trace["name"]: trace for trace in figure.traces}
    assert drawn.keys() == {"candidate", "its score, where it did not play"}
    known = drawn["its score, where it did not play"]
    assert (known["x"], known["y"]) == ([3.75], ["window 6: refused"])


def test_the_last_tests_show_who_raced_and_who_was_confirmed(data: RunData) -> None:
    figure = last_tests_figure(data)
    assert figure is not None
    drawn = {trace["name"]: (trace["x"], set(trace["y"])) for trace in figure.traces}
    assert drawn == {
        "best": ([9.0, 9.0], {"confirmation: window 7"}),
        "stays": ([8.0, 9.0], {"race 1: window 7"}),
        "out": ([3.0, 4.0], {"race 1: window 4"}),
    }
    assert dict(figure.rows) == {"policies tested": "2", "confirmed as the best": "policy of window 7, 9 ± 0.5"}


def test_only_the_newest_last_tests_are_drawn(data: RunData) -> None:
    older = {**LAST_TEST, "window_id": 5, "part": "race", "round": 1, "policies": [played(2, "stays", 1.0)]}
    figure = last_tests_figure(replace(data, events=[older, *data.events]))
    assert figure is not None
    assert all("window 2" not in label for trace in figure.traces for label in trace["y"])


def test_each_test_is_told_in_words(data: RunData) -> None:
    told = [(r.kind, r.policy, r.against, r.seeds, r.score, r.other_score, r.outcome) for r in rows_of_tests(data)]
    assert told == [
        ("candidate", "of window 3", "snapshot 000001", "2: 1, 2", "3.5", "-", "crowned"),
        ("race, round 1", "of window 7", "1 other", "2: 3, 4", "8.5 ± 0.5", "best of them 3.5 ± 0.5", "stays"),
        ("race, round 1", "of window 4", "1 other", "2: 3, 4", "3.5 ± 0.5", "best of them 8.5 ± 0.5", "out"),
        ("confirmation", "of window 7", "-", "2: 5, 6", "9 ± 0.5", "-", "best"),
    ]


def test_a_retest_and_a_long_list_of_seeds(data: RunData) -> None:
    retest = {"event": "retest", "window_id": 4, "against": "000001", "seeds": list(range(9)), "incumbent_score": 2.25}
    (row,) = rows_of_tests(replace(data, events=[retest]))
    assert (row.kind, row.policy, row.score) == ("retest of the best", "snapshot 000001", "2.25")
    assert row.seeds == "9: 0, 1, 2, 3, ..."


@pytest.mark.parametrize("policies", [None, "text", [1], [{"returns": "x"}], [{}]])
def test_what_is_no_test_is_no_error(data: RunData, policies: object) -> None:
    odd = replace(data, events=[{**LAST_TEST, "policies": policies}])
    last_tests_figure(odd)
    rows_of_tests(odd)


def test_a_run_without_tests_has_no_figures(tmp_path: Path) -> None:
    empty = RunData(run_dir=tmp_path)
    assert (figure_of_tests(empty), last_tests_figure(empty), rows_of_tests(empty)) == (None, None, [])
