import json
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.cli import main
from tensor_optix.core.loop.history import History, HistoryRecord
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.curve_files import recorded_in
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    InvalidArgumentError,
    MissingDependencyError,
)
from tensor_optix.replay import evaluations_of, replay

RETURNS = [10.0 * min(n / 400, 1.0) + 0.1 * (n % 3) for n in range(6_000)]
LENGTH = 100
"""Steps of each of these episodes."""
STEPS = LENGTH * np.arange(1, len(RETURNS) + 1)


def monitor(path: Path, header: str = '#{"t_start": 1.0, "env_id": "None"}\n', columns: str = "r,l,t") -> Path:
    fields = [{"r": f"{value}", "l": f"{LENGTH}", "t": f"{n}.5"} for n, value in enumerate(RETURNS)]
    lines = [",".join(row[name] for name in columns.split(",")) for row in fields]
    path.write_text(f"{header}{columns}\n" + "\n".join(lines) + "\n")
    return path


def arrays(path: Path, **runs: Any) -> Path:
    np.savez(path, **runs)
    return path


def history(path: Path) -> Path:
    made = History(path)
    for window in range(400):
        made.append(
            HistoryRecord(
                window_id=window,
                env_steps=2_048 * (window + 1),
                verdict="flat",
                state="active",
                interval=1,
                best_score=None,
                probed_param=None,
                hyperparams=HyperparamSet({}),
                eval_metrics=EvalMetrics(min(window, 50.0), {"score_std_err": 0.1}, window),
            )
        )
    made.close()
    return path


def test_the_same_run_is_decided_the_same_from_every_kind_of_file(tmp_path: Path) -> None:
    files = [
        monitor(tmp_path / "0.monitor.csv"),
        monitor(tmp_path / "gymnasium.csv", header="", columns="l,r"),
        arrays(tmp_path / "one.npz", run=np.array([STEPS, RETURNS])),
        arrays(tmp_path / "named.npz", steps=STEPS, returns=RETURNS),
    ]
    found = [next(replay(path)).to_dict() for path in files]
    assert [one.pop("file") for one in found] == [str(path) for path in files]
    assert all(one == found[0] for one in found)
    assert found[0]["stop_step"] is not None
    assert 40_000 < found[0]["stop_step"] < found[0]["steps"] == 600_000
    assert found[0]["best_score"] == pytest.approx(10.1, abs=0.1)
    assert found[0]["reason"].startswith("quiet for ")


def test_an_evaluation_is_the_mean_of_the_last_episodes(tmp_path: Path) -> None:
    run = next(
        recorded_in(arrays(tmp_path / "run.npz", run=np.array([[10.0, 20.0, 30.0, 47.0], [1.0, 3.0, 5.0, 9.0]])))
    )
    found = evaluations_of(run, every=15, episodes=2)
    assert found.steps.tolist() == [30, 45]
    assert found.scores.tolist() == [4.0, 4.0]
    assert found.std_errs.tolist() == pytest.approx([1.0, 1.0])
    assert found.episodes is not None
    assert found.episodes.tolist() == [3, 3]
    assert evaluations_of(run, every=15, episodes=2, offset=5).steps.tolist() == [20, 35]
    assert np.isnan(evaluations_of(run, every=15, episodes=1).std_errs).all()


def test_a_history_of_ours_is_replayed_as_it_is(tmp_path: Path) -> None:
    found = next(replay(history(tmp_path / "history.jsonl")))
    assert found.evaluations == pytest.approx(4.5 * 50, rel=0.1)
    assert found.best_score == 50.0
    assert found.stop_step == found.evaluations * 2_048


def test_a_file_of_several_runs_names_each(tmp_path: Path) -> None:
    run = np.array([STEPS[:50], RETURNS[:50]])
    path = arrays(tmp_path / "two.npz", first=run, second=run)
    assert [one.file for one in replay(path)] == [f"{path}#first", f"{path}#second"]


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
    ("name", "content", "error", "message"),
    [
        ("a.csv", "#{}\nreward,length\n1,2\n", BadDataError, "has r .return. and l"),
        ("a.csv", "#{}\nr,l,t\nbad,2,3\n1,2,3\n", BadDataError, "Episode 1 of .* r='bad'"),
        ("a.csv", "r,l\n1,0\n1,2\n", BadDataError, "l='0'"),
        ("a.csv", "", BadDataError, "columns"),
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
        list(replay(tmp_path / name))


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({"a": np.zeros((3, 5))}, r"shape \(3, 5\)"),
        ({"a": np.array([[2.0, 1.0], [0.0, 0.0]])}, "go back"),
        ({"a": np.array([[1.0, 2.0], [0.0, np.nan]])}, "no finite number"),
        ({"steps": np.arange(3), "returns": np.arange(4)}, "one value per step"),
    ],
)
def test_arrays_that_are_no_run_are_refused(tmp_path: Path, runs: dict[str, Any], message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        list(replay(arrays(tmp_path / "a.npz", **runs)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="There is no file"):
        list(replay(tmp_path / "none.csv"))


@pytest.mark.parametrize("arguments", [{"every": 0}, {"episodes": 0}, {"offset": -1}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(arguments))):
        list(replay(monitor(tmp_path / "run.csv"), **arguments))


def test_a_short_or_empty_run_has_no_stop_and_no_score(tmp_path: Path) -> None:
    found = next(replay(arrays(tmp_path / "a.npz", a=np.zeros((2, 0)))))
    assert (found.stop_step, found.best_score, found.evaluations) == (None, None, 0)


class TestTensorBoard:
    PATH = "events.out.tfevents.1700000000.host"

    def test_needs_tensorboard_and_says_how_to_install_it(self, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.setitem(sys.modules, "tensorboard", None)
        (tmp_path / self.PATH).write_bytes(b"")
        with pytest.raises(MissingDependencyError, match="pip install tensorboard"):
            list(replay(tmp_path / self.PATH))

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
        assert next(replay(path)).evaluations == 2

    def test_a_log_without_returns_is_refused(self, tmp_path: Path, monkeypatch: Any) -> None:
        (tmp_path / self.PATH).write_bytes(b"")
        self.log(monkeypatch, {"loss": [(1, 1.0)]})
        with pytest.raises(BadDataError, match="It has: loss"):
            list(replay(tmp_path / self.PATH))


class TestCommand:
    def test_json_is_one_object_per_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        files = [str(monitor(tmp_path / f"{n}.monitor.csv")) for n in range(2)]
        options = ["--every", "1000", "--episodes", "10", "--offset", "300", "--json"]
        assert main(["replay", *files, *options]) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [one["file"] for one in found] == files
        assert {"file", "stop_step", "best_score", "evaluations", "reason"} <= set(found[0])
        assert found[0]["stop_step"] % 1_000 == 300

    def test_without_it_one_line_says_what_would_have_been_saved(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        short = arrays(tmp_path / "short.npz", run=np.array([STEPS[:100], RETURNS[:100]]))
        assert main(["replay", str(monitor(tmp_path / "run.csv")), str(short)]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert " saved)" in first
        assert "goes on after all 10,000 steps" in second
        assert "the record ends first" in second

    def test_a_bad_file_ends_with_the_message_and_exit_code_2(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["replay", str(tmp_path / "none.csv")]) == 2
        assert "There is no file" in capsys.readouterr().err
