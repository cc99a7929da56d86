"""`train` and `resume`: what they print, save and end with."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import _wiring
from tensor_optix.adapters._one_hot import places_in
from tensor_optix.algorithms import _devices
from tensor_optix.algorithms._ppo import PPOAgent
from tensor_optix.cli import main
from tensor_optix.core.decisions import escapes
from tensor_optix.core.decisions.intervals import METHOD
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.loop.history import History, HistoryRecord
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.errors import CheckpointStorageError
from tensor_optix.multirun.played_beside import PlayedBeside
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.runs import RunDescription
from tests.fakes.reports import report as report_of
from tests.fakes.tiny_runs import TINY_FLAGS

pytestmark = pytest.mark.usefixtures("short_last_tests", "plain_graphs")

SHORT = ["--n-envs", "1", "--max-episodes", "2", "--window-size", "128", "--val-episodes", "2", "--no-progress"]


def test_train_reports_why_it_stopped_what_it_found_and_how_to_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a run"
    assert main(["train", "CartPole-v1", "--seed", "0", "--run-dir", str(folder), *SHORT]) == 0
    out = capsys.readouterr().out
    assert "max_episodes windows are done" in out
    assert "Best score" in out
    assert METHOD in out
    assert "unconfirmed" not in out
    assert f"tensor-optix evaluate '{folder}'" in out
    assert f"tensor-optix report '{folder}'" in out


class Chain(gym.Env):
    """Twenty states in a row; the reward is at the end, and one wrong step leads back to the beginning."""

    observation_space, action_space = gym.spaces.Discrete(20), gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.at = 0
        return self.at, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        self.at = self.at + 1 if action == 1 else 0
        return self.at, float(self.at == 19), self.at == 19, False, {}


def test_a_run_that_learned_nothing_says_so_and_exits_with_3_also_when_it_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gym.register("Chain20-v0", entry_point=Chain, max_episode_steps=30)
    folder = str(tmp_path / "run")
    short = ["--n-envs", "1", "--window-size", "64", "--plateau-threshold", "2", "--dormant-threshold", "3"]
    short += ["--framework", "torch", "--net-arch", "8", "--hp", "n_epochs=1", "--val-episodes", "2"]
    assert main(["train", "Chain20-v0", "--seed", "0", "--run-dir", folder, "--no-progress", *short]) == 3
    out = capsys.readouterr().out
    assert "Nothing Learned" in out
    assert "Every episode had the return 0" in " ".join(out.split())
    report = TrainingReport.from_dict(json.loads((tmp_path / "run" / "report.json").read_text()))
    assert (report.reason, report.converged, report.start_score) == ("nothing_learned", False, 0.0)
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["start_score"] for line in history] == [0.0] * report.evaluations
    assert main(["resume", folder, "--no-progress"]) == 3
    assert "No window was trained: the run had ended before." in capsys.readouterr().err
    capsys.readouterr()
    assert main(["evaluate", folder, "--episodes", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["start_score"], result["ahead_of_start"]) == (0.0, False)


class Pick(gym.Env):
    """Eight times the action that the observation names."""

    observation_space, action_space = gym.spaces.Box(0.0, 1.0, (2,)), gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.at = 0
        return self.shown(), {}

    def shown(self) -> np.ndarray:
        self.named = int(self.np_random.integers(2))
        return np.eye(2, dtype=np.float32)[self.named]

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.at, reward = self.at + 1, float(action == self.named)
        return self.shown(), reward, self.at == 8, False, {}


@pytest.mark.slow
def test_where_the_algorithm_learns_nothing_another_one_does_also_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gym.register("Pick-v0", entry_point=Pick)
    monkeypatch.setattr(_wiring, "Patience", functools.partial(Patience, unlearned_episodes=100))
    monkeypatch.setattr(escapes, "BUDGET", 8.0)
    flags = ["--algo", "ppo", "--framework", "torch", "--seed", "0", "--no-progress", "--n-envs", "1"]
    flags += ["--window-size", "64", "--net-arch", "16", "--hp", "n_epochs=1", "--hp", "learning_rate=1e-7"]
    flags += ["--no-tuning", "--val-episodes", "2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(["train", "Pick-v0", "--run-dir", str(whole), *flags, "--max-windows", "70"]) == 0
    assert "algorithm ppo -> dqn" in capsys.readouterr().out
    main(["train", "Pick-v0", "--run-dir", str(cut), *flags, "--max-windows", "30"])
    assert main(["resume", str(cut), "--no-progress", "--max-windows", "70"]) == 0
    assert (whole / "history.jsonl").read_bytes() == (cut / "history.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["evaluate", str(cut), "--episodes", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == 8.0


def test_a_report_in_json_is_all_that_stdout_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    argv = ["train", "CartPole-v1", "--seed", "0", "--framework", "torch", "--run-dir", str(folder), "--json", *SHORT]
    assert main(argv) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["next"] == {
        "evaluate": f"tensor-optix evaluate {folder}",
        "report": f"tensor-optix report {folder}",
        "enjoy": f"tensor-optix enjoy {folder}",
        "resume": f"tensor-optix resume {folder} --max-windows 4",
    }
    del printed["next"]
    assert printed == json.loads((folder / "report.json").read_text())


def test_a_run_without_a_policy_names_no_command_that_plays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = report_of(best_snapshot=None, reason="interrupted")
    monkeypatch.setattr(RLOptimizer, "run", lambda self: ended)
    argv = ["train", "CartPole-v1", "--framework", "torch", "--run-dir", str(tmp_path / "run"), "--json", *SHORT]
    assert main(argv) == 130
    assert json.loads(capsys.readouterr().out)["next"].keys() == {"report", "resume"}


def test_the_run_directory_describes_the_run(run_dir: Path) -> None:
    run = json.loads((run_dir / "run.json").read_text())
    assert (run["env"], run["algorithm"], run["framework"], run["seed"]) == ("CartPole-v1", "ppo", "tf", 0)
    report = TrainingReport.from_dict(json.loads((run_dir / "report.json").read_text()))
    assert report.windows == 2


@pytest.mark.slow
@pytest.mark.slow
def test_validation_beside_training_decides_the_same_whoever_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--framework", "torch", "--seed", "3", "--n-envs", "1", "--window-size", "64", "--val-episodes", "2"]
    flags += ["--net-arch", "8", "--no-progress", "--max-windows", "6", "--validate-beside"]
    assert main(["train", "CartPole-v1", "--run-dir", str(tmp_path / "beside"), *flags]) in (0, 3)
    monkeypatch.setattr(PlayedBeside, "begin", lambda self, *args: None)
    assert main(["train", "CartPole-v1", "--run-dir", str(tmp_path / "here"), *flags]) in (0, 3)
    histories = [(tmp_path / name / "history.jsonl").read_bytes() for name in ("beside", "here")]
    assert histories[0] == histories[1]


def test_evolve_lets_variants_learn_and_reports_the_lineage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY_FLAGS, "--framework", "torch", "--no-progress", "--plateau-threshold", "1"]
    arguments += ["--dormant-threshold", "2", "--evolve", "2", "--max-episodes", "60", "--seed", "1"]
    assert main(["train", "CartPole-v1", "--run-dir", str(tmp_path / "run"), *arguments]) in (0, 3)
    out = capsys.readouterr().out
    assert len(re.findall("Training Complete|Nothing Learned", out)) == 1
    assert "Spawns used" in out
    report = TrainingReport.from_dict(json.loads((tmp_path / "run" / "report.json").read_text()))
    lineage = report.evolution["lineage"]
    assert 1 <= len(lineage) <= 2
    assert all(variant["outcome"] in ("new best", "kept", "discarded") for variant in lineage)
    assert lineage[0]["changes"]
    assert main(["evaluate", str(tmp_path / "run"), "--verify"]) == 0


def test_the_update_is_compiled_for_windows_as_they_will_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], type]] = []
    monkeypatch.setattr(PPOAgent, "compile_ahead", lambda _, zeros: seen.append((zeros.shape, zeros.dtype.type)))
    assert main(["train", "CartPole-v1", "--framework", "torch", "--run-dir", str(tmp_path / "run"), *SHORT]) in (0, 3)
    assert seen == [((128, 4), np.float32)]


def test_the_update_for_choices_is_compiled_for_one_hot_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(PPOAgent, "compile_ahead", lambda _, observations: seen.append(observations))
    argv = ["train", "Taxi-v4", "--framework", "torch", "--run-dir", str(tmp_path / "run"), *SHORT]
    assert main(argv) in (0, 3)
    assert places_in(seen[0]) is not None


def test_environments_are_stepped_as_told_or_as_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    argv = ["train", "CartPole-v1", "--seed", "0", "--run-dir", str(folder), "--max-episodes", "1", "--no-progress"]
    argv += ["--window-size", "64", "--framework", "torch", "--net-arch", "8", "--val-episodes", "1"]
    assert main(argv) == 0
    assert "does the same without measuring" in capsys.readouterr().err
    assert main([*argv, "--n-envs", "4"]) == 0
    assert json.loads((folder / "run.json").read_text())["n_envs"] == 4
    assert json.loads((folder / "report.json").read_text())["env_steps"] == 64
    assert main(["evaluate", str(folder), "--episodes", "2"]) == 0
    assert main([*argv, "--n-envs", "0"]) == 2
    assert "--n-envs must be an integer of at least 1" in capsys.readouterr().err


def test_an_environment_gets_the_arguments_given_for_it(tmp_path: Path) -> None:
    argv = ["train", "CartPole-v1", "--run-dir", str(tmp_path / "run"), *SHORT, "--framework", "torch"]
    assert main([*argv, "--env-kwargs", "sutton_barto_reward=true", "--env-kwargs", "render_mode=rgb_array"]) == 0
    run = RunDescription.read(tmp_path / "run")
    assert run.env_kwargs == {"sutton_barto_reward": True, "render_mode": "rgb_array"}
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert -1.0 <= report["best_score"] <= 0.0


@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
def test_every_algorithm_trains_and_evaluates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    env = "CartPole-v1" if algorithm == "dqn" else "Pendulum-v1"
    argv = ["train", env, "--algo", algorithm, "--framework", "torch", "--seed", "0", "--run-dir", str(tmp_path / "r")]
    assert main([*argv, "--net-arch", "8", "--hp", "learning_starts=64", *SHORT]) == 0
    assert main(["evaluate", str(tmp_path / "r"), "--episodes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["episodes"] == 2


@pytest.mark.parametrize(
    ("given", "kept"), [([], 0.15), (["--validation-share", "0.5"], 0.5), (["--validation-share", "1"], None)]
)
def test_the_share_of_validation_belongs_to_the_run(tmp_path: Path, given: list[str], kept: float | None) -> None:
    folder = tmp_path / "run"
    argv = ["train", "CartPole-v1", "--framework", "torch", "--run-dir", str(folder), "--max-windows", "1", *given]
    argv += [*TINY_FLAGS, "--no-progress"]
    assert main(argv) == 0
    assert RunDescription.read(folder).validation_share == kept


@pytest.mark.parametrize("share", ["0", "1.5", "nan"])
def test_a_share_of_validation_that_is_none_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "CartPole-v1", "--validation-share", share]) == 2
    assert "--validation-share must be above 0" in capsys.readouterr().err


def test_normalisation_belongs_to_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    argv = ["train", "MountainCar-v0", "--framework", "torch", "--seed", "0", "--run-dir", str(folder), *SHORT]
    assert main([*argv, "--val-episodes", "1"]) == 0
    run = json.loads((folder / "run.json").read_text())
    assert (run["normalize_observations"], run["normalize_rewards"]) == (True, True)
    assert list(folder.glob("snapshot_*/companions.json"))
    assert main(["evaluate", str(folder), "--episodes", "1"]) == 0


def test_an_environment_in_a_file_here_is_trained_and_every_command_says_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "cli_env.py").write_text("from tests.cli.test_training import Chain\nclass Mine(Chain):\n    pass\n")
    argv = ["train", "cli_env.py:Mine", "--framework", "torch", "--seed", "0", "--run-dir", "run", "--max-steps", "200"]
    assert main([*argv, *SHORT]) == 0
    printed = capsys.readouterr().out
    assert "tensor-optix evaluate run --allow-module cli_env.py" in printed
    assert main(["evaluate", "run", "--episodes", "2"]) == 2
    assert "--allow-module cli_env.py" in capsys.readouterr().err
    assert main(["evaluate", "run", "--episodes", "2", "--allow-module", "cli_env.py"]) == 0
    assert main(["resume", "run", "--no-progress", "--max-windows", "3", "--allow-module", "cli_env.py"]) == 0
    assert TrainingReport.from_dict(json.loads(Path("run/report.json").read_text())).allow_module == "cli_env.py"


def test_ctrl_c_ends_cleanly_with_the_best_policy_saved(tmp_path: Path) -> None:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [
            sys.executable,
            "-m",
            "tensor_optix.cli",
            "train",
            "CartPole-v1",
            "--framework",
            "torch",
            "--seed",
            "0",
            "--run-dir",
            str(tmp_path),
            "--n-envs",
            "1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "best=" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Interrupted by the user" in out
    assert "Training Interrupted" in out
    # A short test follows; on a busy machine its seconds may be too few, and the best is unconfirmed then.
    tested = re.search(r"[1-9]\d* episodes(, unconfirmed)?", out)
    assert tested is not None
    assert (tested[1] is not None) == (f"tensor-optix evaluate {tmp_path} --confirm" in out)
    assert main(["evaluate", str(tmp_path), "--episodes", "1"]) == 0


def test_a_terminated_run_is_resumed_as_if_it_had_not_been(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [
        *SHORT,
        "--framework",
        "torch",
        "--seed",
        "3",
        "--evolve",
        "1",
        "--net-arch",
        "8",
        "--window-size",
        "64",
        "--hp",
        "n_epochs=2",
        "--max-episodes",
        "6",
    ]
    assert main(["train", "CartPole-v1", "--run-dir", str(tmp_path / "whole"), *short]) == 0
    append = History.append

    def terminated(history: History, record: HistoryRecord) -> None:
        append(history, record)
        if record.window_id == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(History, "append", terminated)
    cut = tmp_path / "cut short"
    assert main(["train", "CartPole-v1", "--run-dir", str(cut), *short]) == 143
    assert f"tensor-optix resume '{cut}'" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(["resume", str(cut), "--no-progress"]) == 0
    assert (cut / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()
    assert "max_episodes windows are done" in capsys.readouterr().out

    def full(run: RunDescription, run_dir: Path) -> None:
        raise CheckpointStorageError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunDescription, "write", full)
        assert main(["resume", str(cut), "--no-progress", "--max-episodes", "7"]) == 0
    assert "must be given again at the next resume: No space left" in capsys.readouterr().err
    assert main(["resume", str(cut), "--no-progress", "--max-episodes", "8"]) == 0
    assert json.loads((cut / "report.json").read_text())["windows"] == 8


def test_what_was_never_a_run_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_run_that_another_process_is_in_is_left_as_it_is(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fcntl = pytest.importorskip("fcntl")
    before = (run_dir / "run.json").read_bytes()
    with (run_dir / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["resume", str(run_dir), "--no-progress", "--max-episodes", "77"]) == 2
    assert "another process" in capsys.readouterr().err
    assert (run_dir / "run.json").read_bytes() == before


def test_the_device_belongs_to_the_run_and_another_is_chosen_when_it_is_resumed(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_devices, "finds_cuda", lambda _: False)
    path = run_dir / "run.json"
    run = json.loads(path.read_text())
    assert run["device"] == "cpu"
    path.write_text(json.dumps(run | {"device": "cuda"}))
    longer = ["resume", str(run_dir), "--max-windows", "3", "--no-progress"]
    assert main(longer) == 2
    assert "finds no GPU here: give --device cpu" in capsys.readouterr().err
    assert main([*longer, "--device", "cpu"]) == 0
    assert json.loads(path.read_text())["device"] == "cpu"


def test_a_gpu_that_is_not_there_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_devices, "finds_cuda", lambda _: False)
    folder = tmp_path / "run"
    assert main(["train", "CartPole-v1", "--device", "cuda", "--run-dir", str(folder), *SHORT]) == 2
    assert "finds no GPU here: give --device cpu" in capsys.readouterr().err
    assert not folder.exists()


def test_an_earlier_run_is_moved_aside_whole_and_still_evaluates(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "CartPole-v1", "--framework", "torch", "--seed", "1", "--run-dir", str(run_dir), *SHORT]
    assert main(argv) == 0
    assert json.loads((run_dir / "run.json").read_text())["seed"] == 1
    assert main(["evaluate", str(run_dir / "previous_000"), "--episodes", "2"]) == 0
    assert "CartPole-v1" in capsys.readouterr().out
