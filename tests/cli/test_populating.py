"""`train --population` and `resume` of a tiny one."""

import json
from pathlib import Path

import pytest

from tensor_optix.cli import main, populating
from tensor_optix.multirun import population as module
from tests.fakes.tiny_runs import TINY_FLAGS, contents

RECORDS = ("generations.jsonl", "result.json", "population.json")


def train(folder: Path, *more: str) -> int:
    how = ["--framework", "torch", "--no-progress", "--max-windows", "2", "--generation-windows", "1", *TINY_FLAGS]
    return main(["train", "CartPole-v1", "--population", "2", "--run-dir", str(folder), *how, *more])


def content(folder: Path) -> list[bytes]:
    return contents(folder, RECORDS)


def test_a_population_is_trained_interrupted_resumed_and_its_best_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(tmp_path / "whole") == 0
    captured = capsys.readouterr()
    assert "max_windows windows of each member are done: 2 generations, 128 steps of 2 members" in captured.out
    assert f"tensor-optix evaluate {tmp_path / 'whole'}" in captured.out
    assert "generation 2: 128 steps" in captured.err
    assert main(["evaluate", str(tmp_path / "whole"), "--verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True

    step = module.Population.step

    def interrupted(self: module.Population, *args: object) -> None:
        if self.kept.generation == 1:
            args[0].cancel()  # type: ignore[attr-defined]
        step(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(module.Population, "step", interrupted)
        assert train(tmp_path / "cut") == 130
    assert f"tensor-optix resume {tmp_path / 'cut'}" in capsys.readouterr().out
    assert main(["resume", str(tmp_path / "cut"), "--no-progress"]) == 0
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert train(tmp_path / "cut", "--hp", "gamma=0.5") == 2
    assert "holds another population" in capsys.readouterr().err


def test_an_asynchronous_population_says_that_it_does_not_repeat_and_goes_on_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "a", "--asynchronous") == 0
    captured = capsys.readouterr()
    assert "max_windows windows of each member are done: 2 generations, 128 steps of 2 members" in captured.out
    assert "does not repeat" in captured.err
    assert "generation 2: 128 steps" in captured.err
    assert main(["resume", str(tmp_path / "a"), "--max-windows", "3", "--no-progress"]) == 0
    captured = capsys.readouterr()
    assert "does not repeat" in captured.err
    assert "3 generations, 192 steps" in captured.out
    assert train(tmp_path / "a") == 2
    assert "holds another population" in capsys.readouterr().err
    assert main(["train", "CartPole-v1", "--asynchronous"]) == 2
    assert "--asynchronous needs --population N." in capsys.readouterr().err


def test_a_folder_whose_making_was_broken_off_is_made_anew_and_any_other_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(populating, "write_description", killed)
    assert train(tmp_path / "a") == 130
    monkeypatch.undo()
    monkeypatch.setattr(populating, "_finish", lambda *args: 0)
    assert train(tmp_path / "a") == train(tmp_path / "a") == 0
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").touch()
    assert train(tmp_path / "b") == 2
    assert "holds something else" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_give_the_same_decisions_weights_and_history(tmp_path: Path) -> None:
    assert train(tmp_path / "one") == train(tmp_path / "two", "--workers", "2") == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.ray
def test_a_local_cluster_gives_the_same_decisions_weights_and_history(tmp_path: Path) -> None:
    assert train(tmp_path / "one") == train(tmp_path / "two", "--workers", "2") == 0
    assert train(tmp_path / "ray", "--workers", "2", "--executor", "ray") == 0
    assert content(tmp_path / "one") == content(tmp_path / "two") == content(tmp_path / "ray")
