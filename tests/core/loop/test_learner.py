"""The slot of the learner: who acts where, once another agent has been installed."""

import pytest

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.loop.learner import Joint, Single, learner_slot
from tests.helpers import NumpyAgent, ScriptedPipeline


class Team(NumpyAgent):
    """Acts for its members, one of which learns."""

    def __init__(self) -> None:
        super().__init__()
        self.learners: list[BaseAgent] = []

    def set_learner(self, agent: BaseAgent) -> None:
        self.learners.append(agent)


def test_an_agent_that_takes_a_learner_is_joint_and_any_other_is_single() -> None:
    assert isinstance(learner_slot(Team()), Joint)
    assert isinstance(learner_slot(NumpyAgent()), Single)


class TestSingle:
    def test_another_agent_acts_in_every_pipeline(self) -> None:
        first, second = NumpyAgent(), NumpyAgent()
        training, held_out = ScriptedPipeline([], first), ScriptedPipeline([], first)
        slot = Single(first, training, held_out)
        slot.install(second)
        assert (slot.agent, training.agent, held_out.agent) == (second, second, second)

    def test_where_validation_acts_greedily_it_still_does(self) -> None:
        first, second = NumpyAgent(), NumpyAgent()
        held_out = ScriptedPipeline([], GreedyAgent(first))
        Single(first, ScriptedPipeline([], first), held_out).install(second)
        assert isinstance(held_out.agent, GreedyAgent)
        assert held_out.agent.agent is second

    def test_the_first_one_is_remembered_whoever_learns(self) -> None:
        first, second = NumpyAgent(), NumpyAgent()
        slot = Single(first)
        slot.install(second)
        assert slot.first is first
        slot.install(first)
        assert slot.agent is first

    def test_to_install_the_learner_itself_leaves_what_a_user_has_put_into_the_pipeline(self) -> None:
        first, shown = NumpyAgent(), NumpyAgent()
        pipeline = ScriptedPipeline([], shown)
        slot = Single(first, pipeline)
        slot.install(first)
        assert pipeline.agent is shown

    @pytest.mark.parametrize("held_out", [None, ScriptedPipeline([])])
    def test_a_validation_pipeline_need_not_be_there(self, held_out: ScriptedPipeline | None) -> None:
        second = NumpyAgent()
        training = ScriptedPipeline([])
        Single(NumpyAgent(), training, held_out).install(second)
        assert training.agent is second


class TestJoint:
    def test_the_learner_changes_and_the_acting_agent_does_not(self) -> None:
        team, member = Team(), NumpyAgent()
        pipeline = ScriptedPipeline([], team)
        slot = learner_slot(team, pipeline)
        slot.install(member)
        assert team.learners == [member]
        assert slot.agent is slot.first is team
        assert pipeline.agent is team

    def test_the_team_is_not_made_a_member_of_itself(self) -> None:
        team = Team()
        learner_slot(team).install(team)
        assert not team.learners
