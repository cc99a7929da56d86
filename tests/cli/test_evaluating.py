"""What a run has learned is played again: fresh episodes, confirmed scores, and those behind the score."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tensor_optix.algorithms import _devices
from tensor_optix.cli import main
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.intervals import METHOD
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline


def test_evaluate_plays_the_best_policy(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run_dir), "--episodes", "7", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    report = json.loads((run_dir / "report.json").read_text())
    assert result["episodes"] == 7
    assert result["reported"] == report["best_score"]
    assert result["min"] <= result["mean"] <= result["max"]
    assert main(["evaluate", str(run_dir), "--episodes", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result


def test_evaluate_says_it_in_words(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run_dir), "--episodes", "3"]) == 0
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert "over 3 greedy episodes" in first
    assert METHOD in first
    assert second.startswith("Reported: ")
    assert second.endswith("(30 episodes)")
    assert third.startswith("Untrained: ")


def test_evaluate_gives_the_interval_of_what_it_played(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run_dir), "--episodes", "4", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["method"], result["level"], result["confirmed"]) == (METHOD, 0.95, True)
    assert result["low"] < result["mean"] < result["high"]


@pytest.fixture
def cut_short(run_dir: Path) -> Path:
    """A run whose best has not been tested after the training."""
    registry = CheckpointRegistry(run_dir)
    best = registry.best
    assert best is not None
    metrics = {name: value for name, value in best.eval_metrics.metrics.items() if name != "final_episodes"}
    registry.rescore(best, dataclasses.replace(best.eval_metrics, metrics=metrics), best.evidence)
    registry.close()
    path = run_dir / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"confirmed": False, "reason": "interrupted"}))
    return run_dir


def test_an_unconfirmed_best_is_confirmed_by_fresh_episodes_and_the_report_tells_it(
    cut_short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(cut_short), "--episodes", "2"]) == 0
    out = capsys.readouterr().out
    assert "(30 episodes, unconfirmed)" in out
    assert f"Confirm it: tensor-optix evaluate {cut_short} --confirm" in out
    assert main(["evaluate", str(cut_short), "--confirm", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["episodes"], result["confirmed"]) == (100, True)
    report = TrainingReport.from_dict(json.loads((cut_short / "report.json").read_text()))
    assert report.confirmed
    assert report.best_score == result["mean"] == result["reported"]
    assert report.best_interval is not None
    assert (report.best_interval.low, report.best_interval.episodes) == (result["low"], 100)
    assert ", unconfirmed" not in str(report)
    assert main(["evaluate", str(cut_short), "--episodes", "2"]) == 0
    assert "(100 episodes)" in capsys.readouterr().out


def test_without_a_report_the_confirmed_score_is_printed_and_written_nowhere(
    cut_short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cut_short / "report.json").unlink()
    assert main(["evaluate", str(cut_short), "--confirm"]) == 0
    printed = capsys.readouterr()
    assert "over 100 greedy episodes" in printed.out
    assert "no report.json yet" in printed.err
    assert not (cut_short / "report.json").exists()


def test_verify_reproduces_the_reported_number_exactly(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run_dir), "--verify", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    report = json.loads((run_dir / "report.json").read_text())
    assert result == {
        "verified": True,
        "episodes": 30,
        "differing": 0,
        "mean": report["best_score"],
        "reported": report["best_score"],
    }


def test_verify_plays_the_episodes_that_have_confirmed_a_score(
    cut_short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(cut_short), "--confirm", "--seed", "7", "--episodes", "103"]) == 0
    path = cut_short / "report.json"
    report = json.loads(path.read_text())
    assert report["confirmation"] == {"seed": 7, "episodes": 103}
    capsys.readouterr()
    assert main(["evaluate", str(cut_short), "--verify", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    score = report["best_score"]
    assert result == {"verified": True, "episodes": 103, "differing": 0, "mean": score, "reported": score}
    path.write_text(json.dumps(report | {"best_score": score + 1.0}))
    assert main(["evaluate", str(cut_short), "--verify"]) == 1
    assert capsys.readouterr().out.endswith("over 103 episodes: NOT reproduced.\n")


def test_verify_counts_episodes_that_cannot_be_played_again(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plays = ValidationPipeline.play
    fails = iter([True])

    def play(self: ValidationPipeline, seeds: Sequence[int]) -> EpisodeData:
        if next(fails, False):
            raise BadDataError("not finite")
        return plays(self, seeds)

    monkeypatch.setattr(ValidationPipeline, "play", play)
    assert main(["evaluate", str(run_dir), "--verify", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["verified"], result["episodes"]) == (False, 28)
    assert result["differing"] > 0


def test_verify_tells_a_claim_that_does_not_hold(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = CheckpointRegistry(run_dir)
    best = registry.best
    assert best is not None
    claimed = dataclasses.replace(best.eval_metrics, primary_score=501.0)
    registry.rescore(best, claimed, best.evidence)
    registry.close()
    assert main(["evaluate", str(run_dir), "--verify"]) == 1
    assert "NOT reproduced" in capsys.readouterr().out
    registry.rescore(best, claimed)
    registry.close()
    assert main(["evaluate", str(run_dir), "--verify"]) == 2
    assert "nothing to verify" in capsys.readouterr().err


def test_a_moved_run_evaluates_the_same(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = run_dir.rename(tmp_path / "elsewhere")
    assert main(["evaluate", str(moved), "--episodes", "2"]) == 0
    assert "CartPole-v1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env": "os:CartPole-v1"}, "would import the module 'os'"),
        ({"env": 3}, "`$.env`"),
        ({"format": 99}, "format 99"),
        ({"net_arch": "big"}, "`$.net_arch`"),
        ({"n_envs": -2}, "`$.n_envs`"),
        ({"window_size": 10**12}, "`$.window_size`"),
        ({"window_siz": 5}, "Did you mean 'window_size'?"),
        ({"seed": True}, "`$.seed`"),
    ],
)
def test_a_run_that_is_not_trustworthy_is_not_followed(
    run_dir: Path, capsys: pytest.CaptureFixture[str], change: dict, message: str
) -> None:
    run = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(run | change))
    assert main(["evaluate", str(run_dir)]) == 2
    assert message in capsys.readouterr().err


def made_on(run_dir: Path, device: str) -> None:
    path = run_dir / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": device}))


def test_a_run_made_on_a_gpu_is_played_where_there_is_none_and_a_difference_is_explained(
    run_dir: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_devices, "finds_cuda", lambda _: False)
    made_on(run_dir, "cuda")
    assert main(["evaluate", str(run_dir), "--episodes", "2", "--json"]) == 0
    assert "rounds otherwise" not in caplog.text
    assert main(["evaluate", str(run_dir), "--verify"]) == 0
    assert "was trained on cuda and plays on cpu here, which rounds otherwise" in caplog.text
    assert main(["evaluate", str(run_dir), "--device", "cuda"]) == 2
    assert "finds no GPU here: give --device cpu" in capsys.readouterr().err
