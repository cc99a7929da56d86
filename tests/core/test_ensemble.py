import math

import pytest

from tensor_optix.core.ensemble import Ensemble
from tensor_optix.errors import ContractError, EvolutionError, InvalidArgumentError
from tests.helpers import ConstantAgent, NumpyAgent


def ensemble(*actions: float) -> tuple[Ensemble, list[ConstantAgent]]:
    made, agents = Ensemble(seed=0), [ConstantAgent(action) for action in actions]
    for agent in agents:
        made.add_agent(agent)
    return made, agents


def test_one_member_acts_by_itself_and_several_by_weight() -> None:
    pm, _ = ensemble(2.0)
    assert pm.ensemble_action([0.0]) == 2.0
    pm.add_agent(ConstantAgent(4.0), weight=3.0)
    assert pm.ensemble_action([0.0]) == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("scores", "weights"),
    [
        ({0: 1.0, 1: 3.0}, [1.0, 3.0]),
        ({1: 3.0}, [1.0, 3.0]),  # the other keeps its own
        ({0: -5.0, 1: 5.0}, [0.1, 10.1]),  # shifted: the worst gets 1 % of the range
        ({0: 0.0, 1: 5.0}, [0.05, 5.05]),
        ({0: -7.0, 1: -7.0}, [1.0, 1.0]),
        ({}, [1.0, 1.0]),
    ],
)
def test_weights_are_in_proportion_to_shifted_scores_and_positive(scores: dict, weights: list[float]) -> None:
    pm, _ = ensemble(0.0, 0.0)
    pm.update_weights(scores)
    assert pm.weights == pytest.approx(weights)
    assert min(pm.weights) > 0


def test_recorded_scores_count_by_their_mean_over_the_window() -> None:
    pm = Ensemble(score_window=2)
    for _ in range(3):
        pm.add_agent(NumpyAgent())
    for index, scores in ((0, (100.0, 1.0, 3.0)), (1, (4.0, math.nan))):
        for score in scores:
            pm.record_agent_score(index, score)
    pm.auto_update_weights()
    assert pm.weights == (2.0, 4.0, 1.0)


def test_boost_multiplies_a_weight() -> None:
    pm, (one, other) = ensemble(0.0, 0.0)
    pm.boost(one)
    pm.boost(other, 0.5)
    assert pm.weights == (2.0, 0.5)


def test_the_weakest_go_first_and_one_always_stays() -> None:
    pm, (low, high, unjudged) = ensemble(0.0, 0.0, 0.0)
    pm.record_agent_score(0, 1.0)
    pm.record_agent_score(1, 9.0)
    assert pm.prune() == [low]
    assert pm.agents == (high, unjudged)
    assert pm.prune(5) == [high]  # who has no score yet goes last
    assert pm.prune() == []
    assert pm.agents == (unjudged,)


def test_scores_stay_with_their_member_when_others_go() -> None:
    pm, (_, high) = ensemble(0.0, 0.0)
    pm.record_agent_score(0, 1.0)
    pm.record_agent_score(1, 9.0)
    pm.prune()
    pm.auto_update_weights()
    assert (pm.agents, pm.weights) == ((high,), (9.0,))


def test_who_is_discarded_is_gone_and_who_is_none_is_no_error() -> None:
    pm, (one, other) = ensemble(0.0, 0.0)
    pm.discard(one)
    pm.discard(one)
    assert pm.agents == (other,)


def test_bad_input_is_refused_at_the_call() -> None:
    pm, (one, _) = ensemble(0.0, 0.0)
    with pytest.raises(InvalidArgumentError, match="weight must be a finite number of at least 0, but got -1"):
        pm.add_agent(NumpyAgent(), weight=-1.0)
    with pytest.raises(InvalidArgumentError, match="weight must be a finite number"):
        pm.add_agent(NumpyAgent(), weight=math.nan)
    with pytest.raises(InvalidArgumentError, match="factor must be a finite number"):
        pm.boost(one, -2.0)
    with pytest.raises(ContractError, match="is a member already"):
        pm.add_agent(one)
    with pytest.raises(ContractError, match="must be a BaseAgent"):
        pm.add_agent("agent")  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="is no member"):
        pm.boost(NumpyAgent())
    with pytest.raises(InvalidArgumentError, match="There is no member 2"):
        pm.update_weights({2: 1.0})
    with pytest.raises(InvalidArgumentError, match="There is no member -1"):
        pm.record_agent_score(-1, 1.0)
    with pytest.raises(InvalidArgumentError, match="score of member 0 must be a finite number"):
        pm.update_weights({0: math.inf})
    with pytest.raises(InvalidArgumentError, match="bottom_k must be a whole number of at least 1"):
        pm.prune(0)
    with pytest.raises(EvolutionError, match="no members"):
        Ensemble().ensemble_action([0.0])
    assert pm.ensemble_size == 2
