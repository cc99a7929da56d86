"""Runs that are kept, with a script in place of the command line."""

import itertools
import json
from pathlib import Path

import pytest

from benchmarks._field_runs import KeptRun, goes_on, kept_run
from benchmarks._suite import MeasurementError, Options
from benchmarks._worlds import CHAIN

SCRIPT = """
import json, pathlib, signal, sys, time
command, where = sys.argv[1:3]
run_dir = pathlib.Path(where if command == "resume" else sys.argv[sys.argv.index("--run-dir") + 1])
run_dir.mkdir(exist_ok=True)
(run_dir / "calls.txt").open("a").write(command + "\\n")
(run_dir / "run.json").write_text("{}")
def end(code):
    (run_dir / "report.json").write_text("{}")
    sys.exit(code)
signal.signal(signal.SIGINT, lambda *_: end(130))
(run_dir / "history.jsonl").write_text("{}\\n" * 3)
if command == "train":
    CONDUCT
end(0)
"""
FOREVER, FAILS, INTERRUPTS_ITSELF = "time.sleep(600)", "sys.exit(2)", "end(130)"


def scripted(folder: Path, conduct: str, **fields: object) -> KeptRun:
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("CONDUCT", conduct))
    given = {"folder": folder / "kept", "env": "CartPole-v1", "seed": 3, "command_line": (str(script),), **fields}
    return KeptRun(**given)  # type: ignore[arg-type]


def calls(run: KeptRun) -> list[str]:
    return (run.run_dir / "calls.txt").read_text().split()


def test_a_run_that_has_ended_is_left_as_it_is(tmp_path: Path) -> None:
    run = scripted(tmp_path, "pass")
    first = run.finish()
    assert (first.exit_code, first.is_cut) == (0, False)
    assert run.finish() == first
    assert calls(run) == ["train"]


def test_ctrl_c_comes_after_as_many_evaluations_as_asked(tmp_path: Path) -> None:
    run = scripted(tmp_path, FOREVER, interrupt_after=3)
    progress = run.finish()
    assert (progress.exit_code, progress.is_cut) == (130, False)
    assert run.finish() == progress


def test_a_cut_run_goes_on_where_it_was_when_it_is_given_more_time(tmp_path: Path) -> None:
    evaluated = tmp_path / "kept" / "run" / "history.jsonl"
    cut = scripted(tmp_path, FOREVER, minutes=1.0, clock=lambda: 61.0 if evaluated.exists() else 0.0)
    progress = cut.finish()
    assert (progress.exit_code, progress.is_cut) == (130, True)
    assert cut.finish() == progress
    more = scripted(tmp_path, FOREVER, minutes=2.0, clock=itertools.count(0.0, 1e-3).__next__)
    ended = more.finish()
    assert (ended.exit_code, ended.is_cut) == (0, False)
    assert ended.seconds > progress.seconds == 61.0
    assert calls(more) == ["train", "resume"]


@pytest.mark.parametrize("conduct", [FAILS, INTERRUPTS_ITSELF])
def test_a_run_that_fails_or_is_interrupted_by_another_is_no_measurement_and_goes_on(
    tmp_path: Path, conduct: str
) -> None:
    run = scripted(tmp_path, conduct)
    with pytest.raises(MeasurementError, match="ended with"):
        run.finish()
    assert run.finish().exit_code == 0
    assert calls(run) == ["train", "resume"]


def test_what_is_discarded_is_begun_anew(tmp_path: Path) -> None:
    run = scripted(tmp_path, "pass")
    run.finish()
    run.discard()
    run.finish()
    assert calls(run) == ["train"]
    assert json.loads((run.folder / "bench.json").read_text())["exit_code"] == 0


def test_a_run_has_a_folder_of_its_own_and_our_environments_are_registered(tmp_path: Path) -> None:
    options = Options(runs=tmp_path, minutes=2.0)
    runs = [
        kept_run("CartPole-v1", 0, options),
        kept_run("CartPole-v1", 1, options),
        kept_run("CartPole-v1", 0, options, "interrupted", interrupt_after=8),
        kept_run(CHAIN, 0, options),
    ]
    assert len({run.folder for run in runs}) == 4
    assert {run.folder.parent for run in runs} == {tmp_path}
    assert [run.command_line[1] for run in runs[2:]] == ["tensor_optix.cli", "benchmarks._worlds"]


@pytest.mark.parametrize(
    ("cut", "minutes", "expected"), [(True, None, True), (True, 3.0, True), (True, 2.0, False), (False, None, False)]
)
def test_only_a_cut_run_that_is_given_more_time_is_measured_again(
    cut: bool, minutes: float | None, expected: bool
) -> None:
    assert goes_on({"cut": cut, "seconds": 120.0}, Options(minutes=minutes)) is expected
