from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import TensorOptixError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tests.fakes.environments import Replay
from tests.fakes.loops import LoopRig
from tests.helpers import ConstantAgent, NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


class Seeded(BasePipeline):
    """An episode's return is the action of who acts in it."""

    def __init__(self, agent: BaseAgent) -> None:
        self.agent = agent
        self.played: list[tuple[int, ...]] = []
        self.n_asked = 0

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        self.n_asked += 1
        return [self.n_asked]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        assert self.agent is not None
        self.played.append(tuple(seeds))
        return window_of(float(self.agent.act_batch([0.0], deterministic=True)[0]))


def test_agents_are_scored_alone_and_greedily_on_the_same_fresh_episodes() -> None:
    acting = ConstantAgent(0.0)
    pipeline = Seeded(acting)
    validation = Validation(pipeline, ScoreEvaluator())
    assert validation.score().primary_score == 0.0
    found = validation.scores_alone([ConstantAgent(3.0), ConstantAgent(7.0)])
    assert [metrics.primary_score for metrics in found] == [3.0, 7.0]
    assert pipeline.played == [(1,), (2,), (2,)]
    assert pipeline.agent is acting
    assert validation.score().primary_score == 0.0


def test_who_acts_acts_again_where_one_of_them_fails() -> None:
    acting = GreedyAgent(ConstantAgent(0.0))
    pipeline = Seeded(acting)
    with pytest.raises(ValueError, match="could not convert"):
        Validation(pipeline, ScoreEvaluator()).scores_alone([ConstantAgent("up")])
    assert pipeline.agent is acting


@pytest.mark.parametrize("pipeline", [None, ScriptedPipeline([1.0])])
def test_without_episodes_fixed_by_seeds_nobody_is_scored_alone(pipeline: BasePipeline | None) -> None:
    assert Validation(pipeline, ScoreEvaluator()).scores_alone([ConstantAgent(3.0)]) == []


def test_a_better_validation_score_decides_and_not_the_training_score(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 9.0, 9.0], val_scores=[5.0, 4.9, 5.1])
    report = rig.run()
    assert [score for _, score in rig.recorder.named("improvement")] == [5.0, 5.1]
    assert report.best_score == 5.1
    assert report.generalization_gap == pytest.approx(9.0 - 5.1)
    assert rig.agent.weight == pytest.approx(0.3)  # validated after learning, so that is what was saved


def test_validation_never_learns(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0], val_scores=[1.0, 2.0, 3.0])
    rig.run()
    assert rig.agent.learned == [0, 1, 2]


def test_a_finite_validation_pipeline_starts_over(tmp_path: Path) -> None:
    class Restarting(ScriptedPipeline):
        def episodes(self):
            self.position = 0
            return super().episodes()

    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0, 4.0], val_pipeline=Restarting([1.0, 2.0]))
    rig.run()
    assert [record.eval_metrics.primary_score for record in rig.history()] == [1.0, 2.0, 1.0, 2.0]


def test_an_empty_validation_pipeline_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(TensorOptixError, match=r"ScriptedPipeline.episodes\(\) yields nothing"):
        LoopRig(tmp_path, [1.0], val_scores=[]).run()


class Counting(ConstantAgent):
    """Counts the steps of an episode, and declares nothing."""

    def __init__(self) -> None:
        super().__init__(0)
        self.steps = 100

    def act(self, observation: Any) -> Any:
        self.steps = 1 if observation == 0 else self.steps + 1
        return self.steps


class Pieces(BasePipeline):
    """Episodes of six steps in windows of some steps; an action is the reward."""

    def __init__(self, agent: BaseAgent, length: int) -> None:
        self.agent, self.length = agent, length

    def episodes(self) -> Iterator[EpisodeData]:
        assert self.agent is not None
        for start in range(0, 12, self.length):
            at = np.arange(start, start + self.length) % 6
            actions = [self.agent.act(step) for step in at]
            cut = np.zeros(self.length, bool)
            yield EpisodeData(at, np.asarray(actions), np.asarray(actions, float), at == 5, cut)


class LastReward(ScoreEvaluator):
    def score(self, episode_data: EpisodeData, train_diagnostics: Any) -> EvalMetrics:
        return EvalMetrics(float(episode_data.rewards[-1]), {}, episode_data.episode_id)


@pytest.mark.parametrize(("length", "scores"), [(2, [2, 4, 6, 2]), (3, [3, 6, 3, 6]), (6, [6, 6, 6, 6])])
def test_an_episode_that_goes_on_in_the_next_window_goes_on_with_what_the_agent_remembers(
    length: int, scores: list[float]
) -> None:
    agent = Counting()
    validation = Validation(Pieces(agent, length), LastReward())
    found = []
    for _ in scores:
        found.append(validation.score().primary_score)
        agent.act(50)  # training goes on in between
    assert found == scores
    assert agent.steps == 100 + len(scores)


def alike(caplog: pytest.LogCaptureFixture) -> int:
    return sum("Every validation episode so far was the same" in record.getMessage() for record in caplog.records)


class Always(ConstantAgent):
    """Greedy in its own way."""

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return np.repeat(np.asarray(self.action)[None], len(observations), axis=0)


class TestEpisodesThatAreAllTheSame:
    @pytest.mark.parametrize(
        ("env_id", "action", "is_said"),
        [("CliffWalking-v1", 0, True), ("FrozenLake-v1", 2, False), ("Pendulum-v1", [0.0], False)],
    )
    def test_a_simulator_without_chance_is_told_from_one_with_some(
        self, env_id: str, action: Any, is_said: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        def make() -> gym.Env:
            return gym.make(env_id, max_episode_steps=60)

        validation = Validation(ValidationPipeline([make] * 5, Always(action), seed=0), EpisodeReturnEvaluator())
        for _ in range(3):
            validation.score()
        assert alike(caplog) == is_said
        assert validation.is_repetitive is is_said

    def test_a_record_that_is_replayed_is_spoken_of_once_and_with_the_remedy(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        pipeline = ValidationPipeline([lambda: Replay(np.arange(100.0))] * 3, Always(1), seed=0)
        validation = Validation(pipeline, EpisodeReturnEvaluator())
        for _ in range(4):
            validation.score()
        (record,) = caplog.records
        assert "(6 of 99 steps each)" in record.getMessage()
        assert "tensor_optix.split_by_time" in record.getMessage()

    @pytest.mark.parametrize(("first_row", "is_said"), [(0.0, True), (500.0, False)])
    def test_a_pipeline_of_ones_own_is_spoken_of_where_it_begins_as_training_does(
        self, first_row: float, is_said: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        held_out = BatchPipeline(Replay(np.arange(first_row, first_row + 300)), Always(1), n_episodes=1)
        training = BatchPipeline(Replay(np.arange(0.0, 400.0)), NumpyAgent(), window_size=50)
        validation = Validation(held_out, EpisodeReturnEvaluator())
        validation.compare_with(next(iter(training.episodes())))
        for _ in range(3):
            validation.score()
        assert alike(caplog) == 0  # each window is one episode of another policy, for all that is known
        assert validation.further() is None
        assert alike(caplog) == is_said
