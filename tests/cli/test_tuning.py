"""`tune` and `resume` of a search, over runs that are functions of the test; one is real, in the soak."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.cli import main, tuning
from tensor_optix.cli.config import read_config
from tensor_optix.errors import JobCancelledError
from tensor_optix.multirun.description import Trials, read_description
from tensor_optix.report import rendering
from tests.fakes.executors import FakeExecutor
from tests.fakes.searches import place, trained

SMALL = ["--trials", "5", "--seeds", "2", "--final-seeds", "3", "--total-steps", "256", "--window-size", "64"]
TINY = ["--framework", "torch", "--val-episodes", "1", "--hp", "n_epochs=1"]
RECORDS = ("best.yaml", "result.json")


def tune(folder: Path, *more: str) -> int:
    return main(["tune", "CartPole-v1", *SMALL, *TINY, "--run-dir", str(folder), "--no-progress", *more])


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> FakeExecutor:
    monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")
    made = FakeExecutor({"try_run": lambda values: trained(100.0 + place(values)[1], values)})
    monkeypatch.setattr(tuning, "executor_of", lambda *how: made)
    return made


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in RECORDS]


def test_a_search_says_the_best_and_writes_what_trains_it(
    tmp_path: Path, executor: FakeExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(tmp_path / "s") == 0
    captured = capsys.readouterr()
    assert "5 of 5 trials, 0 of them pruned, best 104.0" in captured.err
    assert "preset      100.00" in captured.out
    assert "+1.00 [+0.22, +1.78]" in captured.out
    assert "Best: trial-4, which beats the preset: clip_ratio=" in captured.out
    assert f"tensor-optix train --config {tmp_path / 's' / 'best.yaml'}" in captured.out
    assert (tmp_path / "s" / "tune.html").exists()
    found = read_config(tmp_path / "s" / "best.yaml")
    assert found["ppo"]["n_epochs"] == 1
    description = read_description(tmp_path / "s")
    assert isinstance(description, Trials)
    assert description.batch == 4
    assert {"learning_rate", "net_arch", "n_envs"} <= description.space.keys()
    assert "n_epochs" not in description.space


def test_the_preset_stays_where_nobody_beats_it(
    tmp_path: Path, executor: FakeExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    executor.jobs["try_run"] = lambda values: trained(100.0 - place(values)[1], values)
    assert tune(tmp_path / "s", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["best"], found["is_preset"]) == ("preset", True)
    assert found["random"]["ahead"]["mean"] == 1.0
    assert found["next"]["page"] == str(tmp_path / "s" / "tune.html")


def test_it_goes_on_after_an_interruption_by_resume_or_the_same_command_and_with_more_trials(
    tmp_path: Path, executor: FakeExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(tmp_path / "whole") == 0
    train = executor.jobs["try_run"]

    def cut(values: Any) -> Any:
        if place(values) in (("trials", 2, 1), ("finals", 1, 3)) and values["run_dir"] not in seen:
            seen.add(values["run_dir"])
            raise JobCancelledError("cut")
        return train(values)

    seen = set[str]()
    executor.jobs["try_run"] = cut
    assert tune(tmp_path / "cut") == 130
    assert f"tensor-optix resume {tmp_path / 'cut'}" in capsys.readouterr().out
    assert main(["resume", str(tmp_path / "cut"), "--no-progress"]) == 130
    assert tune(tmp_path / "cut") == 0
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert tune(tmp_path / "cut", "--trials", "6") == 0
    assert json.loads((tmp_path / "cut" / "result.json").read_text())["best"] == "trial-5"


def test_what_was_found_before_is_tried_first(tmp_path: Path, executor: FakeExecutor) -> None:
    assert tune(tmp_path / "a", "--trials", "1") == 0
    first = read_description(tmp_path / "a")
    assert isinstance(first, Trials)
    assert first.earlier == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trials", "0"], "--trials must be a whole number of at least 1"),
        (["--workers", "0"], "--workers must be"),
        (["--total-steps", "63"], "--total-steps is the budget of each run, and must be at least 64"),
        (["--algo", "dqn"], "has no hyper-parameter 'n_epochs'"),
    ],
)
def test_bad_input_is_a_sentence(
    tmp_path: Path, executor: FakeExecutor, capsys: pytest.CaptureFixture[str], more: Sequence[str], message: str
) -> None:
    folder = tmp_path / "s"
    if "--algo" in more:
        more = [*more, "--hp", "n_epochs=1"]
    assert tune(folder, *more) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_other_searches_budgets_and_folders_are_refused(
    tmp_path: Path, executor: FakeExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    assert tune(folder, "--trials", "1") == 0
    assert tune(folder, "--total-steps", "512") == 2
    assert "holds another search" in capsys.readouterr().err
    assert main(["resume", str(folder), "--max-steps", "512"]) == 2
    assert "max_steps cannot be changed" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("")
    assert tune(tmp_path / "other") == 2
    assert "holds something else" in capsys.readouterr().err


def test_nothing_left_to_search_is_said(
    tmp_path: Path, executor: FakeExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("learning_rate=1e-3", "clip_ratio=0.2", "entropy_coef=0", "gamma=0.9", "gae_lambda=0.9")
    more = [one for pair in (*given, "minibatch_size=64", "max_grad_norm=1") for one in ("--hp", pair)]
    assert tune(tmp_path / "s", *more, "--net-arch", "8", "--n-envs", "2") == 2
    assert "Everything that could be searched was given" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_search_has_the_same_end_whoever_trains_and_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tune(tmp_path / "one") == 0
    assert tune(tmp_path / "two", "--workers", "2") == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")
    trial = read_description(tmp_path / "one" / "trials" / "trial-3")
    assert trial.workers == 1
