"""Runs side by side: read, grouped, and told apart by their settings."""

import json
import math
from pathlib import Path

import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.report.comparison import Comparison
from tests.fakes.compared_runs import write_compared, write_several


def test_runs_are_grouped_by_environment_and_algorithm(tmp_path: Path) -> None:
    found = Comparison.read(write_several(tmp_path, ("A-v0", "B-v0")))
    assert (found.environments, found.groups) == (["A-v0", "B-v0"], ["dqn", "ppo"])
    assert [run.score for run in found.of("B-v0", "ppo")] == [20.0, 40.0, 60.0]


def test_arguments_of_an_environment_make_another_one(tmp_path: Path) -> None:
    runs = [write_compared(tmp_path / str(n), 1.0, env_kwargs={"size": n} if n else {}) for n in (0, 4)]
    assert Comparison.read(runs).environments == ["A-v0", 'A-v0 {"size": 4}']


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        (("folder",), ["a", "b"]),
        (("learning_rate",), ["learning_rate=0.1", "learning_rate=default"]),
        (
            ("hyperparams.learning_rate", "n_envs"),
            ["hyperparams.learning_rate=0.1, n_envs=4", "hyperparams.learning_rate=default, n_envs=-"],
        ),
    ],
)
def test_runs_are_grouped_by_any_setting(tmp_path: Path, group_by: tuple[str, ...], groups: list[str]) -> None:
    runs = [
        write_compared(tmp_path / "a" / "one", 1.0, hyperparams={"learning_rate": 0.1}, n_envs=4),
        write_compared(tmp_path / "b" / "two", 1.0),
    ]
    assert Comparison.read(runs, group_by).groups == groups


def test_a_setting_that_no_run_has_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    run = write_compared(tmp_path / "a", 1.0, n_envs=4)
    with pytest.raises(InvalidArgumentError, match=r"'n_env' to group by\. Did you mean 'n_envs'"):
        Comparison.read([run], ("n_env",))


def test_a_folder_of_runs_stands_for_them_and_each_counts_once(tmp_path: Path) -> None:
    runs = write_several(tmp_path)
    (tmp_path / "notes").mkdir()
    assert len(Comparison.read([tmp_path, runs[0], runs[0]]).runs) == len(runs)


def test_runs_of_several_seeds_and_of_a_search_are_found_in_its_folder(tmp_path: Path) -> None:
    search, seeds = tmp_path / "runs" / "search", tmp_path / "runs" / "seeds"
    of_search = [write_compared(search / "finals" / f"trial-{n}" / "seed-1", 1.0) for n in range(2)]
    assert [run.data.run_dir for run in Comparison.read([search]).runs] == of_search
    of_seeds = [write_compared(seeds / f"seed-{n}", 1.0) for n in range(2)]
    (seeds / "multirun.json").write_text("{}")
    alone = write_compared(tmp_path / "runs" / "alone", 1.0)
    assert [run.data.run_dir for run in Comparison.read([tmp_path / "runs"]).runs] == [alone, *of_seeds]


def test_what_is_no_run_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = Comparison.read([write_compared(tmp_path / "a", 1.0), tmp_path / "empty", tmp_path / "absent"])
    assert len(found.runs) == 1
    assert "holds no run" in found.refused[str(tmp_path / "empty")]
    assert "is no folder" in found.refused[str(tmp_path / "absent")]


def test_where_nothing_is_a_run_that_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="is no folder"):
        Comparison.read([tmp_path / "absent"])
    with pytest.raises(InvalidArgumentError, match="at least one run"):
        Comparison.read([])


def test_a_run_that_goes_on_counts_with_what_it_has_reached(tmp_path: Path) -> None:
    (run,) = Comparison.read([write_compared(tmp_path / "a", 0.0, ended=False)]).runs
    assert (run.score, run.end, run.steps, run.best_steps) == (9.0, "running", 1000, None)
    assert run.seconds == pytest.approx(360.0)
    assert not run.is_confirmed


def test_a_run_without_any_record_has_no_score(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"env": "A-v0", "algorithm": "ppo"}))
    (run,) = Comparison.read([tmp_path]).runs
    assert math.isnan(run.score)
    assert math.isnan(run.seconds)
    assert run.to_dict()["score"] is None


def test_the_settings_in_which_runs_differ_are_told_by_group(tmp_path: Path) -> None:
    found = {one.name: one.values for one in Comparison.read(write_several(tmp_path)).differences()}
    assert found == {
        "algorithm": {"dqn": "dqn", "ppo": "ppo"},
        "hyperparams.learning_rate": {"dqn": "0.101", "ppo": "0.001"},
    }


def test_a_group_that_differs_within_itself_has_several_values(tmp_path: Path) -> None:
    runs = [
        write_compared(tmp_path / "a", 1.0, hyperparams={"gamma": 0.9}),
        write_compared(tmp_path / "b", 1.0),
    ]
    (difference,) = Comparison.read(runs).differences()
    assert (difference.name, difference.values) == ("hyperparams.gamma", {"ppo": "0.9, default"})


def test_a_run_is_plain_values(tmp_path: Path) -> None:
    (run,) = Comparison.read([write_compared(tmp_path / "a", 2.5, seed=7)]).runs
    plain = json.loads(json.dumps(run.to_dict(), allow_nan=False))
    assert (plain["score"], plain["seed"], plain["group"], plain["best_steps"]) == (2.5, 7, "ppo", 800)
