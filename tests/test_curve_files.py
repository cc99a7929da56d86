"""What is read from files of learning curves, and which are refused."""

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.curve_files import recorded_in
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    InvalidArgumentError,
    MissingDependencyError,
)
from tests.fakes.curves import RETURNS, STEPS, arrays, history, monitor


def test_a_file_of_several_runs_names_each(tmp_path: Path) -> None:
    run = np.array([STEPS[:50], RETURNS[:50]])
    path = arrays(tmp_path / "two.npz", first=run, second=run)
    assert [one.name for one in recorded_in(path)] == [f"{path}#first", f"{path}#second"]


def test_the_header_of_a_monitor_file_tells_the_reward_threshold(tmp_path: Path) -> None:
    assert gym.spec("CartPole-v1").reward_threshold == 475.0
    known = monitor(tmp_path / "known.csv", header='#{"env_id": "CartPole-v1"}\n')
    assert next(recorded_in(known)).reward_threshold == 475.0
    for n, header in enumerate(('#{"env_id": "Nowhere-v0"}\n', "#[1]\n", "#no json\n", "")):
        assert next(recorded_in(monitor(tmp_path / f"{n}.csv", header=header))).reward_threshold is None


def test_the_last_line_of_a_run_in_progress_may_be_cut_short(tmp_path: Path) -> None:
    path = monitor(tmp_path / "run.csv")
    whole = next(recorded_in(path))
    with path.open("a") as file:
        file.write("7.")
    assert next(recorded_in(path)).steps.tolist() == whole.steps.tolist()


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "\ufeff"), ("\n", "\r\n"), (",", ", "), ("r,l,t\n", "r,l,t\n\n")],
    ids=["byte order mark", "CRLF", "spaces", "empty lines"],
)
def test_the_same_episodes_are_read_however_the_text_is_written(tmp_path: Path, before: str, after: str) -> None:
    plain = monitor(tmp_path / "plain.csv")
    changed = plain.read_text().replace(before, after) if before else after + plain.read_text()
    (tmp_path / "other.csv").write_bytes(changed.encode())
    one, other = next(recorded_in(plain)), next(recorded_in(tmp_path / "other.csv"))
    assert (one.steps.tolist(), one.values.tolist()) == (other.steps.tolist(), other.values.tolist())


def test_files_that_were_put_together_are_one_run(tmp_path: Path) -> None:
    text = monitor(tmp_path / "one.csv").read_text()
    (tmp_path / "two.csv").write_text(text + text)
    assert next(recorded_in(tmp_path / "two.csv")).values.tolist() == RETURNS * 2


@pytest.mark.parametrize(("line", "steps"), [("nan,7,1", 7), ("3.1", 0), ("3,-5,1", 0), ("r,x", 0)])
def test_a_line_without_an_episode_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, steps: int
) -> None:
    lines = monitor(tmp_path / "run.csv").read_text().splitlines()
    (tmp_path / "run.csv").write_text("\n".join([*lines[:52], line, *lines[52:]]) + "\n")
    (run,) = recorded_in(tmp_path / "run.csv")
    assert run.values.tolist() == RETURNS
    assert run.steps.tolist() == [*STEPS[:50], *(STEPS[50:] + steps)]
    assert "Episode 51 of" in caplog.text
    assert "Of 6001 episodes 1 are left out" in caplog.text


def test_of_a_folder_the_file_in_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"is a folder. Pass the files of recorded runs.$"):
        next(recorded_in(tmp_path))
    monitor(tmp_path / "run.csv")
    with pytest.raises(InvalidArgumentError, match=r"such as .*run.csv"):
        next(recorded_in(tmp_path))
    history(tmp_path / "history.jsonl")
    with pytest.raises(InvalidArgumentError, match=r"such as .*history.jsonl"):
        next(recorded_in(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.csv", "#{}\nreward,length\n1,2\n", BadDataError, "has r .return. and l"),
        ("a.csv", "#{}\nr,l,t\nbad,2,3\n1,2,3\n", BadDataError, "Episode 1 of .* r='bad'"),
        ("a.csv", "r,l\n1,0\n1,2\n", BadDataError, "l='0'"),
        ("a.csv", "", BadDataError, "is empty, but a monitor file has r"),
        ("a.npz", "nothing", BadDataError, "holds no plain arrays"),
        ("a.jsonl", "{}\n", CheckpointCorruptError, "Line 1"),
        ("a.txt", "", InvalidArgumentError, "of no known kind"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: str, error: type[Exception], message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(error, match=message):
        list(recorded_in(tmp_path / name))


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({}, "holds no arrays"),
        ({"a": np.zeros((3, 5))}, r"shape \(3, 5\)"),
        ({"a": np.array([[2.0, 1.0], [0.0, 0.0]])}, "go back"),
        ({"a": np.array([[1.0, 2.0], [0.0, np.nan]])}, "no finite number"),
        ({"steps": np.arange(3), "returns": np.arange(4)}, "one value per step"),
    ],
)
def test_arrays_that_are_no_run_are_refused(tmp_path: Path, runs: dict[str, Any], message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        list(recorded_in(arrays(tmp_path / "a.npz", **runs)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="There is no file"):
        list(recorded_in(tmp_path / "none.csv"))


class TestTensorBoard:
    PATH = "events.out.tfevents.1700000000.host"

    def test_needs_tensorboard_and_says_how_to_install_it(self, tmp_path: Path, monkeypatch: Any) -> None:
        for module in ("tensorboard", "tensorboard.backend.event_processing.event_accumulator"):
            monkeypatch.setitem(sys.modules, module, None)
        (tmp_path / self.PATH).write_bytes(b"")
        with pytest.raises(MissingDependencyError, match="pip install tensorboard"):
            list(recorded_in(tmp_path / self.PATH))

    def log(self, monkeypatch: Any, scalars: dict[str, list[tuple[int, float]]]) -> None:
        class EventAccumulator:
            def __init__(self, path: str, size_guidance: dict[str, int]) -> None:
                assert size_guidance == {"scalars": 0}

            def Reload(self) -> None:
                pass

            def Tags(self) -> dict[str, list[str]]:
                return {"scalars": list(scalars)}

            def Scalars(self, tag: str) -> list[Any]:
                return [types.SimpleNamespace(step=step, value=value) for step, value in scalars[tag]]

        module = types.ModuleType("tensorboard.backend.event_processing.event_accumulator")
        module.EventAccumulator = EventAccumulator  # type: ignore[attr-defined]
        for name in ("tensorboard", "tensorboard.backend", "tensorboard.backend.event_processing"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def test_reads_the_returns_of_episodes_and_means_of_evaluations(self, tmp_path: Path, monkeypatch: Any) -> None:
        path = tmp_path / self.PATH
        path.write_bytes(b"")
        self.log(monkeypatch, {"loss": [], "charts/episodic_return": [(20, 2.0), (10, 1.0)]})
        run = next(recorded_in(path))
        assert (run.steps.tolist(), run.values.tolist(), run.std_errs) == ([10, 20], [1.0, 2.0], None)
        self.log(monkeypatch, {"rollout/ep_rew_mean": [(10, 1.0), (20, 2.0)]})
        run = next(recorded_in(path))
        assert run.std_errs is not None
        assert np.isnan(run.std_errs).all()  # known to be means, of unknown error

    def test_returns_of_another_name_are_found_where_there_is_one(self, tmp_path: Path, monkeypatch: Any) -> None:
        (tmp_path / self.PATH).write_bytes(b"")
        self.log(monkeypatch, {"loss": [], "ray/tune/env_runners/episode_return_mean": [(10, 1.0)]})
        run = next(recorded_in(tmp_path / self.PATH))
        assert run.name.endswith("#ray/tune/env_runners/episode_return_mean")
        assert run.std_errs is not None
        self.log(monkeypatch, {"train/reward": [(10, 1.0)], "test/reward": [(10, 1.0)]})
        with pytest.raises(BadDataError, match="It has: train/reward, test/reward"):
            next(recorded_in(tmp_path / self.PATH))

    def test_a_log_is_read_without_tensorflow(self, tmp_path: Path) -> None:
        tensorboardx = pytest.importorskip("tensorboardX")
        pytest.importorskip("tensorboard")
        with tensorboardx.SummaryWriter(str(tmp_path)) as writer:
            for step in range(3):
                writer.add_scalar("rollout/ep_rew_mean", float(step), step + 1)
        (path,) = tmp_path.iterdir()
        script = (
            "import sys\nfrom pathlib import Path\nfrom tensor_optix.curve_files import recorded_in\n"
            "print(*next(recorded_in(Path(sys.argv[1]))).values, 'tensorflow' in sys.modules)"
        )
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
        assert done.stdout.split() == ["0.0", "1.0", "2.0", "False"]

    def test_a_log_without_returns_is_refused(self, tmp_path: Path, monkeypatch: Any) -> None:
        (tmp_path / self.PATH).write_bytes(b"")
        self.log(monkeypatch, {"loss": [(1, 1.0)]})
        with pytest.raises(BadDataError, match="It has: loss"):
            list(recorded_in(tmp_path / self.PATH))


def test_a_history_of_ours_has_a_score_and_its_error_for_each_evaluation(tmp_path: Path) -> None:
    (run,) = recorded_in(history(tmp_path / "history.jsonl"))
    assert run.steps.tolist() == [2_048 * (window + 1) for window in range(400)]
    assert run.values.tolist() == [min(window, 50.0) for window in range(400)]
    assert run.std_errs is not None
    assert set(run.std_errs.tolist()) == {0.1}


def test_scores_in_an_archive_are_evaluations_and_returns_are_episodes(tmp_path: Path) -> None:
    (returns,) = recorded_in(arrays(tmp_path / "returns.npz", steps=[1, 2], returns=[3.0, 4.0]))
    (scores,) = recorded_in(arrays(tmp_path / "scores.npz", steps=[1, 2], scores=[3.0, 4.0]))
    (errors,) = recorded_in(arrays(tmp_path / "errors.npz", steps=[1, 2], scores=[3.0, 4.0], std_errs=[0.5, 0.25]))
    assert returns.std_errs is None
    assert scores.std_errs is not None
    assert np.isnan(scores.std_errs).all()
    assert errors.std_errs is not None
    assert errors.std_errs.tolist() == [0.5, 0.25]
