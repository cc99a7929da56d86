"""`train --evolve --workers` and `resume` of a tiny one."""

import json
import re
from pathlib import Path

import pytest

from tensor_optix.cli import main
from tensor_optix.multirun import evolution as module
from tests.fakes.tiny_runs import TINY_FLAGS, contents

pytestmark = pytest.mark.usefixtures("short_last_tests")

RECORDS = ("evolution.json", "result.json", *(f"{run}/history.jsonl" for run in ("first", "variant-1", "variant-2")))


def train(folder: Path, *more: str) -> int:
    how = ["--framework", "torch", "--no-progress", "--plateau-threshold", "1", "--dormant-threshold", "2", *TINY_FLAGS]
    return main(["train", "CartPole-v1", "--evolve", "2", "--workers", "1", "--run-dir", str(folder), *how, *more])


def content(folder: Path) -> list[bytes]:
    return contents(folder, RECORDS)


def test_variants_are_trained_interrupted_resumed_and_the_best_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(tmp_path / "whole") == 0
    out, best = capsys.readouterr().out, json.loads((tmp_path / "whole" / "result.json").read_text())["best"]
    assert re.search(
        r"^variant-2 +of first/\d{6}  (kept|discarded|new best) .*learning_rate \S+ -> ", out, re.MULTILINE
    )
    assert re.search(r"^Spawn budget exhausted: \d+ steps of 3 runs$", out, re.MULTILINE)
    assert f"Evaluate it with: tensor-optix evaluate {tmp_path / 'whole' / best}" in out
    assert main(["evaluate", str(tmp_path / "whole" / best), "--verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True

    step, steps = module.Evolution.step, list[object]()

    def interrupted(self: module.Evolution, *args: object) -> None:
        steps.append(self)
        if len(steps) == 2:
            args[0].cancel()  # type: ignore[attr-defined]
        step(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(module.Evolution, "step", interrupted)
        assert train(tmp_path / "cut") == 130
    assert f"tensor-optix resume {tmp_path / 'cut'}" in capsys.readouterr().out
    assert main(["resume", str(tmp_path / "cut"), "--no-progress", "--json", "--max-steps", "100000"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == best
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert train(tmp_path / "cut", "--hp", "gamma=0.5") == 2
    assert "holds 2 variants of CartPole-v1" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_give_the_same_decisions_weights_and_history(tmp_path: Path) -> None:
    assert train(tmp_path / "one") == train(tmp_path / "two", "--workers", "2") == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.ray
def test_a_local_cluster_gives_the_same_decisions_weights_and_history(tmp_path: Path) -> None:
    assert train(tmp_path / "one") == train(tmp_path / "ray", "--workers", "2", "--executor", "ray") == 0
    assert content(tmp_path / "one") == content(tmp_path / "ray")
