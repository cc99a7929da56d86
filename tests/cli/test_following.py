"""Each command names the next one; a run that a bound has ended can be made longer."""

import json
import shutil
from pathlib import Path

import pytest

from tensor_optix.cli import main
from tensor_optix.cli.following import enjoy_command_of, resume_command, resume_command_of
from tests.fakes.run_folders import report_of


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("max_episodes", " --max-windows 20"),
        ("max_steps", " --max-steps 2000"),
        ("interrupted", ""),
        ("stopped", ""),
        ("error", ""),
    ],
)
def test_what_is_not_over_is_trained_on(reason: str, more: str, tmp_path: Path) -> None:
    report = report_of(tmp_path, reason=reason, allow_module="my.py")
    assert resume_command(report, Path("a run")) == f"tensor-optix resume 'a run' --allow-module my.py{more}"


@pytest.mark.parametrize("reason", ["converged", "nothing_learned", "target", "exhausted", "budget"])
def test_what_is_over_is_not(reason: str, tmp_path: Path) -> None:
    assert resume_command(report_of(tmp_path, reason=reason), tmp_path) == ""


def test_a_run_is_asked_what_can_be_done_with_it(run_dir: Path, tmp_path: Path) -> None:
    assert resume_command_of(run_dir) == f"tensor-optix resume {run_dir} --max-windows 4"
    path = run_dir / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"made_in": "python"}))
    assert resume_command_of(run_dir) == resume_command_of(tmp_path) == ""


def test_a_run_without_a_named_environment_is_not_to_be_watched(run_dir: Path, tmp_path: Path) -> None:
    assert enjoy_command_of(run_dir) == f"tensor-optix enjoy {run_dir}"
    path = run_dir / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"env": None}))
    assert enjoy_command_of(run_dir) == enjoy_command_of(tmp_path) == ""


def test_a_run_that_goes_on_is_watched_with_what_its_names_import(run_dir: Path) -> None:
    path = run_dir / "run.json"
    wrappers = ["gymnasium.wrappers:TimeAwareObservation", "mine.py:Mine"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"wrappers": wrappers}))
    (run_dir / "report.json").unlink()
    assert enjoy_command_of(run_dir) == f"tensor-optix enjoy {run_dir} --allow-module mine.py"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"wrappers": ["no place"]}))
    assert enjoy_command_of(run_dir) == ""


def test_a_run_without_a_policy_is_not_to_be_watched(run_dir: Path) -> None:
    for snapshot in run_dir.glob("snapshot_*"):
        shutil.rmtree(snapshot)
    assert enjoy_command_of(run_dir) == ""


def test_report_names_the_next_command_beside_the_path(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run_dir)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{run_dir / 'report.html'}\n"
    assert told.err == f"Watch the best policy with: tensor-optix enjoy {run_dir}\n"
