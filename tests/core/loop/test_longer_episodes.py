"""Validation episodes that are cut late, after others that were cut early: scores of both are never compared."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer
from tensor_optix.core.decisions.cut_episodes import limit_of
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.decider import LONGER_EVENT
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.loop.longer_episodes import gain_of_length
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tests.fakes.agents import RememberingAgent

ROUNDS, ROUND_STEPS, OPENING = 20, 30, 100
"""A game opens with steps in which nothing happens, and has rounds, each of which is lost, or won late."""
GAME = OPENING + ROUNDS * ROUND_STEPS


class Game(gym.Env):
    """Each lost round costs 1. Who is skilled loses no round of the second half of a game, and a game has no limit."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(100)

    def __init__(self) -> None:
        self.step_number = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.step_number = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.step_number += 1
        in_rounds = self.step_number - OPENING
        reward = 0.0
        if in_rounds > 0 and in_rounds % ROUND_STEPS == 0:
            is_hard = in_rounds > ROUNDS * ROUND_STEPS / 2
            reward = -1.0 if not is_hard or self.np_random.random() > int(action) / 100 else 0.0
        return np.zeros(3, np.float32), reward, self.step_number >= GAME, False, {}


class Player(RememberingAgent):
    """Its skill depends on how many windows it has learned from; after some of them the process gets a SIGINT."""

    def __init__(self, skill_after: Callable[[int], float], signal_at: int | None) -> None:
        super().__init__(learning_rate=0.5)
        self.skill_after, self.signal_at = skill_after, signal_at

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return np.full(len(observations), int(99 * self.skill_after(int(self.weight))))

    def act(self, observation: Any, deterministic: bool = False) -> int:
        return int(self.act_batch(np.asarray(observation)[None])[0])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.weight += 1
        if self.weight == self.signal_at:
            os.kill(os.getpid(), signal.SIGINT)
        return {}


@pytest.fixture(autouse=True)
def slow_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.FREE_SECONDS", 0.0)


def optimizer(
    folder: Path,
    skill_after: Callable[[int], float],
    windows: int = 120,
    signal_at: int | None = None,
    **kwargs: Any,
) -> RLOptimizer:
    agent = Player(skill_after, signal_at)
    agent.weight = 0.0
    options = {"checkpoint_dir": folder, "seed": 1, "val_episodes": 3, "max_episodes": windows}
    return RLOptimizer(agent, BatchPipeline(Game, window_size=1_000, seed=0), **(options | kwargs))


def records(folder: Path) -> list[dict[str, Any]]:
    return [record.to_dict() for record in read_history(folder / "history.jsonl")]


class TestGain:
    WINDOW = EpisodeData(
        np.zeros((6, 1)),
        np.zeros(6, int),
        np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        np.array([False, True, False, False, False, True]),
        np.zeros(6, bool),
    )

    @pytest.mark.parametrize(("steps", "gain"), [(0, 0.0), (1, (3.0 + 18.0 - 1.0 - 3.0) / 2), (3, 3.0), (4, 0.0)])
    def test_it_is_what_the_steps_beyond_add_to_the_score(self, steps: int, gain: float) -> None:
        found = EpisodeReturnEvaluator().score_validation(self.WINDOW)
        assert gain_of_length(EpisodeReturnEvaluator(), self.WINDOW, steps, found) == pytest.approx(gain)

    def test_where_the_lower_score_is_better_it_is_a_loss_and_a_grade_gains_nothing(self) -> None:
        lower, graded = EvalMetrics(0.0, lower_is_better=True), EvalMetrics(0.0, grade=2.0)
        assert gain_of_length(EpisodeReturnEvaluator(), self.WINDOW, 3, lower) == -3.0
        assert gain_of_length(EpisodeReturnEvaluator(), self.WINDOW, 3, graded) == 0.0


def test_the_best_is_one_of_whole_games_however_high_the_scores_of_cut_ones_were(tmp_path: Path) -> None:
    made = optimizer(tmp_path, lambda learned: min(learned / 240, 1.0), windows=240)
    report = made.run()
    evaluated = records(tmp_path)
    scores = [record["eval_metrics"]["primary_score"] for record in evaluated]
    assert scores[0] == -3.0  # cut after 200 steps
    assert min(scores) < -9.0
    assert report.best_window > 150
    assert report.best_score > -14.0
    assert report.best_limit is None
    assert report.ahead_of_start is True
    assert all(limit_of(one.evidence) is None for one in made.registry.ranked_snapshots[:1])
    eras = [record["window_id"] for record in evaluated if record["event"] == LONGER_EVENT]
    assert 1 <= len(eras) <= 3
    # A longer game costs more: that is no degradation.
    assert not [one for one in evaluated if one["verdict"] == "degraded" and one["window_id"] in eras]


def test_the_best_of_before_stays_the_best_where_it_is_better_in_longer_episodes_too(tmp_path: Path) -> None:
    """The skill is there in the beginning, and is lost before games are played to their end."""
    made = optimizer(tmp_path, lambda learned: 1.0 if learned < 20 else 0.0, windows=100)
    report = made.run()
    assert report.best_window < 20
    assert report.best_score > -12.0


def test_where_every_score_is_of_whole_episodes_no_era_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensor_optix.core.decisions.validation_budget.SHORTEST_LIMIT", GAME)
    optimizer(tmp_path, lambda learned: min(learned / 100, 1.0), windows=60).run()
    assert not [record for record in records(tmp_path) if record["event"] == LONGER_EVENT]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_resumed_run_is_the_same_as_one_that_was_never_interrupted(tmp_path: Path, after: int) -> None:
    def skill(learned: int) -> float:
        return min(learned / 100, 1.0)

    expected = optimizer(tmp_path / "whole", skill).run()
    (first, *_) = [one["window_id"] for one in records(tmp_path / "whole") if one["event"] == LONGER_EVENT]
    interrupted = optimizer(tmp_path / "cut", skill, signal_at=first + after).run()
    assert interrupted.reason == "interrupted"
    report = optimizer(tmp_path / "cut", skill, resume=True).run()
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    assert (report.best_score, report.best_window) == (expected.best_score, expected.best_window)
