"""What an agent of six methods has by default, what its optional methods tell of it, and its greedy view."""

from typing import Any

import numpy as np
import pytest

from tensor_optix.core.base_agent import (
    ActionLogProbabilities,
    ActionProbabilities,
    ActsMasked,
    BaseAgent,
    ChecksSpaces,
    GreedyAgent,
    HasLearner,
    LearnsOffPolicy,
    ReportsEffectiveHyperparams,
    ReportsNonFinite,
    Restorable,
    Seedable,
    can_be_greedy,
    takes_masks,
)
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import SpaceError
from tests.fakes.environments import Sapper
from tests.helpers import ConstantAgent, NumpyAgent, TabularAgent, window_of

PROTOCOLS = {
    ChecksSpaces: "check_spaces",
    ActsMasked: "act_masked",
    Seedable: "seed",
    ReportsNonFinite: "first_non_finite",
    ReportsEffectiveHyperparams: "effective_hyperparams",
    ActionProbabilities: "action_probs",
    ActionLogProbabilities: "action_log_probs",
    LearnsOffPolicy: "learns_off_policy",
    HasLearner: "set_learner",
}


@pytest.mark.parametrize(
    "method", ["act", "learn", "get_hyperparams", "set_hyperparams", "save_weights", "load_weights"]
)
def test_each_of_the_six_methods_is_needed(method: str) -> None:
    methods = {name: value for name, value in vars(NumpyAgent).items() if name != method}
    with pytest.raises(TypeError, match=f"abstract method '?{method}"):
        type("Partial", (BaseAgent,), methods)()


class TestDefaults:
    def test_a_batch_is_asked_row_by_row(self) -> None:
        class Doubling(NumpyAgent):
            def act(self, observation: Any) -> Any:
                return observation * 2

        actions = Doubling().act_batch(np.array([[1.0, 2.0], [3.0, 4.0]]), deterministic=True)
        assert actions.tolist() == [[2.0, 4.0], [6.0, 8.0]]

    def test_the_training_state_is_the_weights(self, tmp_path: Any) -> None:
        agent, other = NumpyAgent(), NumpyAgent()
        agent.weight = 3.0
        agent.save_training_state(str(tmp_path / "agent"))
        other.load_training_state(str(tmp_path / "agent"))
        assert other.weight == 3.0

    def test_nothing_is_tuned_that_nobody_has_named(self) -> None:
        assert not NumpyAgent().default_param_bounds


@pytest.mark.parametrize(("protocol", "method"), PROTOCOLS.items(), ids=PROTOCOLS.values())
def test_an_ability_is_told_by_its_method_alone(protocol: type, method: str) -> None:
    able = type("Able", (NumpyAgent,), {method: lambda self, *args, **kwargs: None})()
    assert isinstance(able, protocol)
    assert not isinstance(NumpyAgent(), protocol)


def test_an_agent_is_restorable_only_with_both_halves() -> None:
    def method(self: Any, *args: Any) -> None: ...

    assert isinstance(type("Both", (NumpyAgent,), {"snapshot": method, "restore": method})(), Restorable)
    for half in ("snapshot", "restore"):
        assert not isinstance(type("Half", (NumpyAgent,), {half: method})(), Restorable)


class TestGreedyAgent:
    def test_it_acts_as_the_agent_does_greedily_whatever_it_is_asked(self) -> None:
        greedy = GreedyAgent(TabularAgent([0.2, 0.5, 0.3]))
        assert greedy.act(np.zeros(2)) == 1
        assert greedy.act_batch(np.zeros((4, 2))).tolist() == [1, 1, 1, 1]
        assert greedy.act_batch(np.zeros((2, 2)), deterministic=False).tolist() == [1, 1]

    def test_it_draws_nothing_from_the_agents_generator(self) -> None:
        agent = TabularAgent([0.2, 0.5, 0.3])
        before = agent.rng.bit_generator.state
        GreedyAgent(agent).act_batch(np.zeros((4, 2)))
        assert agent.rng.bit_generator.state == before

    def test_masks_reach_an_agent_that_keeps_to_them_and_no_other(self) -> None:
        masks = np.array([[False, True, True, False]] * 2)
        sapper = Sapper()
        assert GreedyAgent(sapper).act_masked(np.zeros((2, 2)), masks).tolist() == [1, 1]
        assert sapper.modes() == {True}
        assert GreedyAgent(ConstantAgent(3)).act_masked(np.zeros((2, 2)), masks).tolist() == [3, 3]

    def test_it_learns_nothing(self) -> None:
        agent = NumpyAgent()
        assert GreedyAgent(agent).learn(window_of(1.0)) == {}
        assert (agent.weight, agent.learned) == (0.0, [])

    def test_values_and_weights_are_the_agents_own(self, tmp_path: Any) -> None:
        agent = NumpyAgent()
        greedy = GreedyAgent(agent)
        greedy.set_hyperparams(HyperparamSet({"learning_rate": 0.7}))
        assert agent.params == greedy.get_hyperparams().params == {"learning_rate": 0.7}
        agent.weight = 2.0
        greedy.save_weights(str(tmp_path / "agent"))
        agent.weight = 0.0
        greedy.load_weights(str(tmp_path / "agent"))
        assert agent.weight == 2.0

    def test_spaces_are_checked_by_an_agent_that_can(self) -> None:
        class Choosy(NumpyAgent):
            def check_spaces(self, observation_space: Any, action_space: Any) -> None:
                raise SpaceError(f"{observation_space} and {action_space} do not fit")

        GreedyAgent(NumpyAgent()).check_spaces("Box", "Discrete")
        with pytest.raises(SpaceError, match="Box and Discrete do not fit"):
            GreedyAgent(Choosy()).check_spaces("Box", "Discrete")


@pytest.mark.parametrize(
    ("agent", "masks", "greedy"),
    [
        (NumpyAgent(), False, False),
        (TabularAgent([0.5, 0.5]), False, True),
        (Sapper(), True, True),
        (GreedyAgent(NumpyAgent()), False, True),
        (GreedyAgent(Sapper()), True, True),
    ],
    ids=["six methods", "act_batch", "masks", "greedy view", "greedy view of masks"],
)
def test_what_an_agent_can_do_is_asked_through_its_greedy_view(agent: BaseAgent, masks: bool, greedy: bool) -> None:
    assert takes_masks(agent) is masks
    assert can_be_greedy(agent) is greedy


def test_a_greedy_view_forwards_masks_where_the_agent_takes_them() -> None:
    masks = np.array([[False, True, True, False]])
    assert GreedyAgent(Sapper()).act_masked(np.zeros((1, 2)), masks).tolist() == [1]
    assert isinstance(Sapper(), ActsMasked)
    assert takes_masks(Sapper())
    assert takes_masks(GreedyAgent(Sapper()))
    assert not takes_masks(NumpyAgent())
    assert not takes_masks(GreedyAgent(NumpyAgent()))
    assert len(GreedyAgent(NumpyAgent()).act_masked(np.zeros((3, 2)), masks)) == 3


class Asked(NumpyAgent):
    """Acts 1 where it is asked for the greedy action, else 0."""

    def act(self, observation: Any, deterministic: bool = False) -> int:
        return int(deterministic)


class AskedByKeyword(NumpyAgent):
    def act(self, observation: Any, **options: Any) -> int:
        return int(options.get("deterministic", False))


class AskedAlways(NumpyAgent):
    def act(self, observation: Any, *, deterministic: bool) -> int:  # type: ignore[override]
        return 7 if deterministic else 3


class AskedAlwaysByPosition(NumpyAgent):
    def act(self, observation: Any, deterministic: bool) -> int:  # type: ignore[override]
        return 7 if deterministic else 3


@pytest.mark.parametrize("agent", [AskedAlways(), AskedAlwaysByPosition()])
def test_an_act_whose_deterministic_has_no_default_explores_in_training(agent: Any) -> None:
    assert can_be_greedy(agent)
    assert (agent.act(0), agent.act(0, deterministic=True)) == (3, 7)
    assert agent.act_batch(np.zeros(2)).tolist() == [3, 3]
    assert GreedyAgent(agent).act(0) == 7


class Batched(NumpyAgent):
    def act_batch(self, observations: Any) -> Any:  # type: ignore[override]
        return np.full(len(observations), 7)


@pytest.mark.parametrize("agent", [Asked(), AskedByKeyword()])
def test_an_act_that_takes_deterministic_is_greedy_in_batches_and_in_validation(agent: NumpyAgent) -> None:
    rows = np.zeros((2, 1), np.float32)
    assert can_be_greedy(agent)
    assert agent.act_batch(rows).tolist() == [0, 0]
    assert agent.act_batch(rows, deterministic=True).tolist() == [1, 1]
    assert GreedyAgent(agent).act(rows[0]) == 1


def test_an_act_batch_without_deterministic_works_and_explores() -> None:
    agent = Batched()
    assert not can_be_greedy(agent)
    assert agent.act_batch(np.zeros((2, 1)), deterministic=True).tolist() == [7, 7]
    assert agent.act_batch(np.zeros((2, 1))).tolist() == [7, 7]
    assert not can_be_greedy(NumpyAgent())


def test_an_agent_that_says_both_is_greedy_by_its_batch() -> None:
    class Both(Asked):
        def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
            return np.full(len(observations), 3 if deterministic else 2)

    assert can_be_greedy(Both())
    assert GreedyAgent(Both()).act(np.zeros(1)) == 3


class Bare(NumpyAgent):
    """Its optional methods take no more than they need."""

    def act_masked(self, observations: Any, action_masks: Any) -> Any:
        return action_masks.argmax(axis=1)

    def act_recurrent(self, observations: Any, memories: Any) -> Any:
        return np.zeros(len(memories)), [(memory or 0) + 1 for memory in memories]


def test_optional_methods_without_the_keywords_are_called_without_them() -> None:
    agent: Any = Bare()
    assert agent.act_masked(np.zeros((1, 2)), np.array([[False, True]]), deterministic=True).tolist() == [1]
    _, memories = agent.act_recurrent(np.zeros((2, 2)), [None, 4], action_masks=None, deterministic=True)
    assert memories == [1, 5]
    assert not can_be_greedy(agent)


def test_only_what_a_method_lacks_is_left_out() -> None:
    class Greedy(NumpyAgent):
        def act_recurrent(self, observations: Any, memories: Any, *, deterministic: bool) -> Any:
            return [deterministic], memories

    agent: Any = Greedy()
    assert agent.act_recurrent(np.zeros((1, 2)), [None], action_masks=None, deterministic=True)[0] == [True]
    assert can_be_greedy(agent)
