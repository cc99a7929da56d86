import json
from pathlib import Path

import numpy as np
import pytest

from tensor_optix.cli import main
from tensor_optix.core.types import EvalMetrics
from tensor_optix.curve_files import recorded_in
from tensor_optix.errors import (
    InvalidArgumentError,
)
from tensor_optix.replay import evaluations_of, replay
from tests.fakes.curves import RETURNS, STEPS, arrays, history, monitor
from tests.fakes.loops import LoopRig
from tests.helpers import ScoreEvaluator


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


@pytest.mark.parametrize("arguments", [{"every": 0}, {"episodes": 0}, {"offset": -1}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(arguments))):
        list(replay(monitor(tmp_path / "run.csv"), **arguments))


def test_a_short_or_empty_run_has_no_stop_and_no_score(tmp_path: Path) -> None:
    found = next(replay(arrays(tmp_path / "a.npz", a=np.zeros((2, 0)))))
    assert (found.stop_step, found.best_score, found.evaluations) == (None, None, 0)


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
        run = monitor(tmp_path / "run.csv")
        assert main(["replay", str(tmp_path / "none.csv"), str(run)]) == 2
        said = capsys.readouterr()
        assert "There is no file" in said.err
        assert said.out.startswith(str(run))  # the others are replayed all the same


def test_the_history_of_losses_is_replayed_as_what_it_is(tmp_path: Path) -> None:
    class Loss(ScoreEvaluator):
        def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
            return candidate.primary_score < reference.primary_score

    rig = LoopRig(tmp_path, [9.0, 7.0, 8.0, 3.0, *[4.0] * 12], evaluator=Loss(), dormant=8)
    rig.run()
    (replayed,) = replay(tmp_path / "history.jsonl")
    assert replayed.best_score == 3.0
