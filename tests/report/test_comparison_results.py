"""What runs come to together."""

import json
from pathlib import Path

import numpy as np
import pytest

from tensor_optix.report.comparison import Comparison
from tensor_optix.report.comparison_results import ALL, Results
from tests.fakes.compared_runs import write_compared, write_several


def results(runs: list[Path]) -> Results:
    return Results.of(Comparison.read(runs), np.random.default_rng(0))


def test_each_group_has_its_interquartile_mean_on_each_environment(tmp_path: Path) -> None:
    found = results(write_several(tmp_path, ("A-v0", "B-v0")))
    assert {(one.environment, one.group): (one.runs, one.score.value) for one in found.groups} == {
        ("A-v0", "ppo"): (3, pytest.approx(20.0)),
        ("A-v0", "dqn"): (3, pytest.approx(120.0)),
        ("B-v0", "ppo"): (3, pytest.approx(40.0)),
        ("B-v0", "dqn"): (3, pytest.approx(140.0)),
    }


def test_over_all_environments_scores_are_between_the_untrained_policy_and_the_best_run(tmp_path: Path) -> None:
    found = results(write_several(tmp_path, ("A-v0", "B-v0")))
    assert found.scales == {"A-v0": (0.0, 130.0), "B-v0": (0.0, 160.0)}
    overall = {one.group: one.score.value for one in found.overall}
    assert {one.environment for one in found.overall} == {ALL}
    ppo = sorted(score / one for one, scores in ((130, (10, 20, 30)), (160, (20, 40, 60))) for score in scores)
    assert overall["ppo"] == pytest.approx(sum(ppo[1:5]) / 4)


def test_one_environment_needs_no_scale(tmp_path: Path) -> None:
    found = results(write_several(tmp_path))
    assert found.overall == []
    assert found.profiles[0].thresholds.max() > 130.0


def test_a_group_that_lacks_an_environment_is_not_averaged_over_all(tmp_path: Path) -> None:
    runs = write_several(tmp_path, ("A-v0", "B-v0"))
    runs.append(write_compared(tmp_path / "new", 5.0, algorithm="sac"))
    found = results(runs)
    assert {one.group for one in found.overall} == {"dqn", "ppo"}
    assert [one.environments for one in found.improvements if "sac" in (one.better, one.worse)] == [1, 1]


def test_the_better_group_is_named_first(tmp_path: Path) -> None:
    (one,) = results(write_several(tmp_path)).improvements
    assert (one.better, one.worse, one.probability.value, one.environments) == ("dqn", "ppo", 1.0, 1)


def test_where_lower_scores_are_better_the_lower_one_wins(tmp_path: Path) -> None:
    runs = write_several(tmp_path)
    for run in runs:
        lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        for line in lines:
            line["eval_metrics"]["lower_is_better"] = True
        (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = results(runs)
    (one,) = found.improvements
    assert (one.better, one.worse) == ("ppo", "dqn")
    profile = {one.group: one for one in found.profiles}["ppo"]
    assert profile.thresholds[0] > profile.thresholds[-1] > 0.0  # a run of 10 is better than a threshold of 20


def test_groups_that_share_no_environment_are_not_compared(tmp_path: Path) -> None:
    runs = [write_compared(tmp_path / "a", 1.0), write_compared(tmp_path / "b", 2.0, env="B-v0", algorithm="dqn")]
    assert results(runs).improvements == []


def test_where_all_scores_are_the_same_there_is_no_scale_and_no_error(tmp_path: Path) -> None:
    runs = [write_compared(tmp_path / f"{env}{n}", 0.0, env=env) for env in ("A-v0", "B-v0") for n in range(2)]
    found = results(runs)
    assert (found.scales, found.overall, found.profiles) == ({}, [], [])


def test_runs_without_a_score_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"env": "A-v0", "algorithm": "ppo"}))
    found = results([tmp_path])
    assert (found.groups, found.improvements, found.profiles) == ([], [], [])


def test_results_are_plain_values(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(results(write_several(tmp_path, ("A-v0", "B-v0"))).to_dict(), allow_nan=False))
    assert plain.keys() == {
        "format",
        "level",
        "groups",
        "overall",
        "probability_of_improvement",
        "profiles",
        "scales",
    }
    assert plain["groups"][0]["score"].keys() == {"value", "low", "high"}
    assert len(plain["profiles"][0]["values"]) == len(plain["profiles"][0]["thresholds"])
