"""Validation in whole runs: what it may cost, where it is cut, and how a signal leaves it."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.training_report import TrainingReport
from tests.helpers import NumpyAgent

ENDS_AFTER = 40


class Corridor(gym.Env):
    """Costs 1 a step. While the policy is trained, an episode ends after 40 steps; played greedily, none ever does."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)
    steps = {"trained": 0, "held out": 0}
    signal_at: int | None = None
    """Steps of validation after which the process gets a SIGINT."""

    def __init__(self, name: str = "held out", ends_after: int | None = None) -> None:
        self.name, self.ends_after, self.taken = name, ends_after, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.taken = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.taken += 1
        Corridor.steps[self.name] += 1
        if self.name == "held out" and Corridor.steps["held out"] == Corridor.signal_at:
            os.kill(os.getpid(), signal.SIGINT)
        reward = -1.0 - 0.01 * float(self.np_random.integers(5))
        return np.zeros(3, np.float32), reward, self.taken == self.ends_after, False, {}


class Corridors(BatchPipeline):
    """Trains where episodes end, and validates where they do not, or end later."""

    def __init__(self, held_out_ends: int | None = None) -> None:
        super().__init__(Corridor("trained", ENDS_AFTER), window_size=200, seed=0)
        self.held_out_ends = held_out_ends

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> Any:
        from tensor_optix.pipeline.validation_pipeline import ValidationPipeline

        return ValidationPipeline(
            [lambda: Corridor("held out", self.held_out_ends)] * n_episodes, self.agent, seed=seed
        )


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch)


def count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "steps", {"trained": 0, "held out": 0})
    monkeypatch.setattr(Corridor, "signal_at", None)
    monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_STEPS", 0)
    for name in (
        "FEWEST_EPISODES",
        "MOST_STEPS",
        "LONGEST",
        "SHORT_STEPS",
    ):  # the untrained policy plays next to nothing here
        monkeypatch.setattr(f"tensor_optix.core.loop.untrained.{name}", 1)


def optimizer(folder: Path, held_out_ends: int | None = None, **kwargs: Any) -> RLOptimizer:
    agent = NumpyAgent(learning_rate=0.5)
    options = {"checkpoint_dir": folder, "seed": 1, "val_episodes": 2, "max_episodes": 40, "validation_share": 0.25}
    return RLOptimizer(agent, Corridors(held_out_ends), **(options | kwargs))


def records(folder: Path) -> list[dict[str, Any]]:
    return [record.to_dict() for record in read_history(folder / "history.jsonl")]


def test_a_policy_that_never_ends_its_episodes_costs_a_quarter_of_the_steps_and_a_short_confirmation(
    tmp_path: Path,
) -> None:
    report = optimizer(tmp_path).run()
    trained, held_out = Corridor.steps["trained"], Corridor.steps["held out"]
    assert report.env_steps == trained == 8_000
    assert report.validation["steps"] == held_out
    assert held_out <= 0.25 * (trained + held_out) + 3 * 2 * 200  # what two windows of the best may go beyond
    assert report.evaluations >= 3
    assert report.validation["put_off"] == 40 - report.evaluations
    assert report.validation["cut"] >= held_out // 200


@pytest.mark.usefixtures("short_last_tests")
def test_a_larger_share_evaluates_more_often_and_none_always(tmp_path: Path) -> None:
    few, more, every = (
        optimizer(tmp_path / str(share), 100, validation_share=share, max_episodes=20).run().evaluations
        for share in (0.1, 0.4, None)
    )
    assert few < more < every == 20


def test_in_a_short_run_nothing_is_put_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_STEPS", 30_000)
    monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_SECONDS", math.inf)
    report = optimizer(tmp_path, 100, max_episodes=20).run()
    assert (report.evaluations, report.validation["put_off"], report.confirmed) == (20, 0, True)


def test_in_a_slow_simulator_no_steps_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_STEPS", 30_000)
    monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_SECONDS", 0.0)
    report = optimizer(tmp_path, 100).run()
    assert 1 < report.evaluations < 40
    assert report.validation["steps"] <= 0.25 * (report.validation["steps"] + report.env_steps)


def test_a_lucky_best_is_tested_again_where_evaluations_take_all_that_there_is(tmp_path: Path) -> None:
    optimizer(tmp_path, 100, max_episodes=300, max_interval_episodes=1, dormant_threshold=1_000).run()
    found = records(tmp_path)
    scores = [record["eval_metrics"]["primary_score"] for record in found]
    # What is learned changes nothing here: the highest of many scores is luck, and 40 episodes have an error of 0.02.
    assert max(scores) > -101.85
    assert found[-1]["best_score"] == pytest.approx(-102.0, abs=0.1)


def test_what_was_put_off_and_cut_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    text = str(optimizer(tmp_path).run())
    assert "evaluations put off (--validation-share)" in text
    assert "episodes cut" in text
    said = [record.getMessage() for record in caplog.records if "validation_share=0.25" in record.getMessage()]
    assert len(said) == 1


def test_the_score_of_a_cut_episode_is_its_return_so_far_and_its_snapshot_says_where_it_was_cut(tmp_path: Path) -> None:
    made = optimizer(tmp_path, max_episodes=1)
    made.run()
    (evidence,) = made.registry.ranked_snapshots[0].evidence
    assert evidence.episode_limit == 200
    assert all(-210.0 < value <= -200.0 for value in evidence.returns)


def test_a_report_from_before_there_was_a_budget_is_still_read(tmp_path: Path) -> None:
    saved = optimizer(tmp_path, max_episodes=1).run().to_dict()
    del saved["validation"]
    assert TrainingReport.from_dict(saved).validation == {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingReport]:
    """A run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        count(patch)
        return folder, optimizer(folder, 90).run()


class TestASignalDuringValidation:
    @pytest.mark.parametrize("after", [5, 30, 250, 399])
    def test_no_further_round_of_steps_is_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
    ) -> None:
        monkeypatch.setattr(Corridor, "signal_at", after)
        made = optimizer(tmp_path)
        report = made.run()
        assert report.reason == "interrupted"
        assert made.ended_by == signal.SIGINT
        assert Corridor.steps["held out"] <= after + 1  # the other of the two environments in the same round
        assert report.windows == 1

    @pytest.mark.parametrize(
        "after",
        [
            1,
            *(pytest.param(n, marks=pytest.mark.slow) for n in (30, 90, 150)),
            300,
            pytest.param(420, marks=pytest.mark.slow),
            777,
        ],
    )
    def test_the_resumed_run_is_the_same_as_one_that_was_never_interrupted(
        self, whole: tuple[Path, TrainingReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
    ) -> None:
        folder, expected = whole
        monkeypatch.setattr(Corridor, "signal_at", after)
        interrupted = optimizer(tmp_path / "cut", 90).run()
        assert interrupted.reason == "interrupted"
        report = optimizer(tmp_path / "cut", 90, resume=True).run()
        assert records(tmp_path / "cut") == records(folder)
        same = ("best_score", "best_window", "windows", "evaluations", "env_steps", "validation")
        assert {name: getattr(report, name) for name in same} == {name: getattr(expected, name) for name in same}

    def test_the_same_optimizer_goes_on_with_the_window_that_was_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Corridor, "signal_at", 30)
        made = optimizer(tmp_path, 90, max_episodes=5)
        assert made.run().evaluations == 0
        assert made.run().evaluations > 0
        assert json.loads((tmp_path / "history.jsonl").read_text().splitlines()[0])["window_id"] == 0

    @pytest.mark.usefixtures("short_last_tests")
    def test_the_last_tests_are_left_too_and_the_best_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        optimizer(tmp_path / "first", 90, max_episodes=10, validation_share=None).run()
        total = Corridor.steps["held out"]
        Corridor.steps.update({"trained": 0, "held out": 0})
        monkeypatch.setattr(Corridor, "signal_at", total - 5)
        report = optimizer(tmp_path / "second", 90, max_episodes=10, validation_share=None).run()
        assert total - 5 <= Corridor.steps["held out"] <= total - 4
        assert report.reason == "max_episodes"
        assert report.best_snapshot is not None
