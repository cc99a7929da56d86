from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import TensorOptixError
from tests.fakes.loops import LoopRig
from tests.helpers import ConstantAgent, ScoreEvaluator, ScriptedPipeline, window_of


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
