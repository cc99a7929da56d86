from collections.abc import Iterator, Sequence

import pytest

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EpisodeData
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
