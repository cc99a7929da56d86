"""One rule for library and command line: patience grows with the scale of the task, or a threshold is set by hand."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import EpisodeReturnEvaluator, LoopConfig, RLOptimizer
from tensor_optix.cli import main
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.runs import RunDescription
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline

SCORES = [*map(float, range(60)), *[59.0] * 400]


def optimizer(folder: Path, scores: list[float] = SCORES, **kwargs: Any) -> RLOptimizer:
    options = {"evaluator": ScoreEvaluator(), "val_pipeline": None, "checkpoint_dir": folder, "max_snapshots": 2}
    return RLOptimizer(NumpyAgent(), ScriptedPipeline(scores), **(options | kwargs))


def patience_of(made: RLOptimizer) -> Any:
    return made._controller._run.config.patience


def test_the_signature_shows_the_defaults_as_plain_numbers() -> None:
    parameters = inspect.signature(RLOptimizer).parameters
    assert parameters["dormant_threshold"].default == 20
    assert parameters["max_interval_episodes"].default == 100
    assert "dormant_threshold: int = 20" in str(inspect.signature(RLOptimizer))


def test_by_default_the_patience_grows_with_the_steps_of_the_rise(tmp_path: Path) -> None:
    report = optimizer(tmp_path).run()
    assert report.reason == "converged"
    assert 3 * 60 < report.windows < len(SCORES)
    assert report.stopped_because.startswith("quiet for ")
    assert "chance of a further rise" in report.stopped_because
    assert f"Patience         : {report.stopped_because}" in str(report)
    assert TrainingReport.from_dict(report.to_dict()).stopped_because == report.stopped_because


@pytest.mark.parametrize(
    "by_hand", [{"dormant_threshold": 20}, {"max_interval_episodes": 1}, {"dormant_threshold": np.int64(20)}]
)
def test_a_threshold_by_hand_is_obeyed_to_the_letter(tmp_path: Path, by_hand: dict[str, int]) -> None:
    report = optimizer(tmp_path, base_interval=1, backoff_factor=1.0, **by_hand).run()
    assert (report.reason, report.windows) == ("converged", 60 + 20)
    assert report.stopped_because == "20 of 20 evaluations without improvement"


def test_other_knobs_leave_the_rule_as_it_is(tmp_path: Path) -> None:
    assert patience_of(optimizer(tmp_path, plateau_threshold=3, val_episodes=7)).is_scaled
    assert patience_of(optimizer(tmp_path, val_episodes=7)).episodes_per_evaluation == 7
    assert not LoopConfig().patience.is_scaled


def test_the_view_says_how_far_the_patience_is_used_up(tmp_path: Path) -> None:
    made = optimizer(tmp_path, max_episodes=100)
    made.run()
    assert made.status.patience.startswith("quiet for ")
    made = optimizer(tmp_path, max_episodes=100, dormant_threshold=50)
    made.run()
    assert made.status.patience == ""


def test_a_resumed_run_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    whole = optimizer(tmp_path / "whole").run()
    optimizer(tmp_path / "parts", max_episodes=100).run()
    with_rest = ScriptedPipeline(SCORES[100:])
    options = {"evaluator": ScoreEvaluator(), "val_pipeline": None, "checkpoint_dir": tmp_path / "parts"}
    rest = RLOptimizer(NumpyAgent(), with_rest, resume=True, max_snapshots=2, **options).run()
    assert (rest.windows, rest.stopped_because) == (whole.windows, whole.stopped_because)


class Known(ScriptedPipeline):
    reward_threshold = 50.0
    max_return = 59.0


class TestTargets:
    def made(self, folder: Path, **kwargs: Any) -> Any:
        return patience_of(RLOptimizer(NumpyAgent(), Known(SCORES), val_pipeline=None, checkpoint_dir=folder, **kwargs))

    def test_are_read_from_the_pipeline(self, tmp_path: Path) -> None:
        patience = self.made(tmp_path)
        assert (patience.reward_threshold, patience.max_return, patience.target) == (50.0, 59.0, 50.0)

    @pytest.mark.parametrize("evaluator", [ScoreEvaluator(), EpisodeReturnEvaluator(reward_weight=1.0)])
    def test_say_nothing_of_a_score_that_is_no_return(self, tmp_path: Path, evaluator: Any) -> None:
        assert self.made(tmp_path, evaluator=evaluator).target is None

    def test_that_are_no_numbers_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Known, "reward_threshold", "high")
        with pytest.raises(InvalidArgumentError, match="reward_threshold"):
            self.made(tmp_path)


@pytest.mark.usefixtures("short_last_tests")
class TestCommandLine:
    RUN = (
        "--framework",
        "torch",
        "--seed",
        "0",
        "--n-envs",
        "1",
        "--max-episodes",
        "1",
        "--window-size",
        "64",
        "--val-episodes",
        "1",
        "--net-arch",
        "8",
    )

    @pytest.mark.parametrize(
        ("flags", "is_scaled"),
        [
            ((), True),
            pytest.param(("--plateau-threshold", "3"), True, marks=pytest.mark.slow),
            (("--dormant-threshold", "20"), False),
            pytest.param(("--max-interval", "2"), False, marks=pytest.mark.slow),
        ],
    )
    def test_a_flag_makes_a_threshold_the_rule(self, tmp_path: Path, flags: tuple[str, ...], is_scaled: bool) -> None:
        assert main(["train", "CartPole-v1", "--run-dir", str(tmp_path), "--no-progress", *self.RUN, *flags]) == 0
        saved = json.loads((tmp_path / "run.json").read_text())
        assert (saved["scaled_patience"], saved["dormant_threshold"], saved["max_interval"]) == (is_scaled, 20, 2)
        patience = patience_of(RunDescription.read(tmp_path).optimizer(tmp_path, resume=True, progress=False))
        assert (patience.is_scaled, patience.reward_threshold) == (is_scaled, 475.0)

    @pytest.mark.parametrize(("flags", "escapes"), [((), True), (("--no-escape",), False)])
    def test_escapes_are_tried_unless_they_are_not_wanted(
        self, tmp_path: Path, flags: tuple[str, ...], escapes: bool
    ) -> None:
        assert main(["train", "CartPole-v1", "--run-dir", str(tmp_path), "--no-progress", *self.RUN, *flags]) == 0
        assert RunDescription.read(tmp_path).escape is escapes

    def test_a_run_that_was_begun_before_keeps_its_rules(self, tmp_path: Path) -> None:
        RunDescription(env="CartPole-v1", algorithm="ppo", framework="tf", seed=0, escape=True).write(tmp_path)
        saved = json.loads((tmp_path / "run.json").read_text())
        del saved["scaled_patience"], saved["escape"]
        (tmp_path / "run.json").write_text(json.dumps(saved))
        run = RunDescription.read(tmp_path)
        assert (run.scaled_patience, run.escape) == (False, False)
