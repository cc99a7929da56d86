"""`train --seeds` and `resume FOLDER` on tiny runs."""

import argparse
import dataclasses
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.cli import main, several
from tensor_optix.cli.many import add_many
from tensor_optix.cli.several import add_executor, executor_of
from tensor_optix.executors import InProcess, Processes
from tensor_optix.multirun import jobs
from tests.fakes.tiny_runs import TINY_FLAGS

pytestmark = pytest.mark.usefixtures("short_last_tests")

TINY = [*TINY_FLAGS, "--window-size", "64"]


def train(folder: Path, *more: str) -> int:
    bounds = ["--max-windows", "2", "--framework", "torch", "--no-progress", "--run-dir", str(folder)]
    return main(["train", "CartPole-v1", "--seeds", "2", *TINY, *bounds, *more])


def result(folder: Path) -> str:
    return (folder / "result.json").read_text()


def test_seeds_are_trained_interrupted_resumed_and_the_best_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(tmp_path / "whole") == 0
    out = capsys.readouterr().out
    best = json.loads(result(tmp_path / "whole"))["best"]
    assert re.search(r"^seed-0 .* 128 steps .*max_episodes", out, re.MULTILINE)
    assert f"Best: {best}, " in out
    assert f"tensor-optix compare {tmp_path / 'whole'}" in out
    assert f"tensor-optix evaluate {tmp_path / 'whole' / best}" in out

    begin = jobs.Teller.on_window_end

    def interrupt(self: jobs.Teller, *args: object) -> None:
        begin(self, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(jobs.Teller, "on_window_end", interrupt)
        assert train(tmp_path / "cut") == 130
    assert f"tensor-optix resume {tmp_path / 'cut'}" in capsys.readouterr().out
    assert main(["resume", str(tmp_path / "cut"), "--no-progress", "--json", "--report"]) == 0
    out, page = capsys.readouterr().out.splitlines()
    assert json.loads(out)["best"] == best
    assert Path(page) == tmp_path / "cut" / "compare.html"
    assert Path(page).exists()
    assert result(tmp_path / "cut") == result(tmp_path / "whole")


@pytest.mark.slow
def test_seeds_go_on_beyond_a_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run") == 0
    assert main(["resume", str(tmp_path / "run"), "--no-progress", "--max-windows", "3"]) == 0
    assert re.search(r"^seed-1 .* 192 steps", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow
def test_workers_give_the_same_result_as_one_process(tmp_path: Path) -> None:
    assert train(tmp_path / "one") == train(tmp_path / "two", "--workers", "2") == 0
    assert result(tmp_path / "one") == result(tmp_path / "two")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.txt").write_text("")
    assert train(tmp_path) == 2
    assert "holds something else" in capsys.readouterr().err


def test_what_runs_the_jobs_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(workers: int, *flags: str) -> Any:
        parser = argparse.ArgumentParser()
        add_executor(parser)
        return executor_of(workers, 1, parser.parse_args(flags))

    monkeypatch.setattr(several, "RayExecutor", lambda address, workers, threads: (address, workers, threads))
    assert isinstance(made(1), InProcess)
    with made(2) as executor:
        assert isinstance(executor, Processes)
    assert made(1, "--executor", "ray") == (None, 1, 1)
    assert made(3, "--ray-address", "node:6379") == ("node:6379", 3, 1)


@pytest.mark.parametrize(
    ("flags", "given", "workers"),
    [
        (["--seeds", "3", "--workers", "2"], {}, 2),
        (["--seeds", "2", "--workers", "5"], {"threads": 1}, 2),
        (["--population", "4", "--workers", "3"], {}, 3),
        (["--seeds", "3"], {}, 0),
        (["--workers", "2"], {}, 0),
        (["--seeds", "3", "--workers", "2"], {"threads": "auto"}, 0),
        (["--seeds", "3", "--workers", "2", "--executor", "ray"], {}, 0),
    ],
)
def test_workers_begin_to_import_before_anything_else_is_known(
    flags: list[str], given: dict[str, Any], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[Any] = []
    monkeypatch.setattr(Processes, "start", lambda self, imports: imported.append(imports))
    monkeypatch.setattr("tensor_optix.executors.processes.cores", lambda: 8)
    parser = argparse.ArgumentParser()
    add_many(parser)
    add_executor(parser)
    args = parser.parse_args(flags)
    with several.started(args, {"framework": "torch", **given}) as early:
        assert (0 if early is None else early.workers) == workers
        assert early is None or executor_of(workers, 1, args, early) is early
    for names in imported:
        for name in names:
            assert importlib.util.find_spec(name) is not None
    assert len(imported) == (workers > 0)


def test_what_is_measured_is_measured_when_workers_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    run: Any = dataclasses.make_dataclass("Run", ["async_envs"])(True)
    monkeypatch.setattr(Processes, "await_start", lambda self: done.append("idle"))
    monkeypatch.setattr(several, "with_measured_environments", lambda run, given: (run, done.append("measured") or ""))
    several.measured(run, given={}, workers=2, early=Processes(1))
    assert done == ["idle", "measured"]
