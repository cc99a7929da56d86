import math

import numpy as np
import pytest

from tensor_optix.core.evolution.ensemble import Ensemble
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
        ({0: 1.0, 1: 3.0}, [0.5, 1.5]),  # together they weigh what they weighed before
        ({1: 480.0}, [1.0, 1.0]),  # nobody else has a score: it counts for as much as before
        ({0: -5.0, 1: 5.0}, [2 * 0.1 / 2.2, 2 * 2.1 / 2.2]),  # shifted: the worst gets a tenth of the largest size
        ({0: 0.0, 1: 5.0}, [2 * 0.1 / 1.2, 2 * 1.1 / 1.2]),
        ({0: -7.0, 1: -7.0}, [1.0, 1.0]),
        ({0: 0.0, 1: 0.0}, [1.0, 1.0]),
        ({0: -85.0, 1: -85.1}, [1.0, 1.0]),  # noise does not decide
        ({0: -1e6, 1: -1e6 + 1e-9}, [1.0, 1.0]),
        ({0: -1e308, 1: 1e308}, [2 * 0.1 / 2.2, 2 * 2.1 / 2.2]),
        ({0: 1e-320, 1: 1e308}, [0.0, 2.0]),
        ({}, [1.0, 1.0]),
    ],
)
def test_weights_are_in_proportion_to_shifted_scores_and_positive(scores: dict, weights: list[float]) -> None:
    pm, _ = ensemble(0.0, 0.0)
    pm.update_weights(scores)
    assert pm.weights == pytest.approx(weights, rel=0.01, abs=1e-5)
    assert sum(pm.weights) == pytest.approx(2.0)
    assert min(pm.weights) > 0


def test_recorded_scores_count_by_their_mean_over_the_window() -> None:
    pm = Ensemble(score_window=np.int64(2))  # type: ignore[arg-type]
    for _ in range(3):
        pm.add_agent(NumpyAgent())
    for index, scores in ((0, (100.0, 1.0, 3.0)), (1, (4.0, math.nan))):
        for score in scores:
            pm.record_agent_score(index, score)
    pm.auto_update_weights()
    assert pm.weights == pytest.approx((2 / 3, 4 / 3, 1.0))  # the third has no score


def test_members_that_weigh_nothing_share_out_their_number() -> None:
    pm, (one, _) = ensemble(0.0, 0.0)
    pm.boost(one, 0.0)
    pm.update_weights({0: 5.0})
    assert pm.weights == (1.0, 1.0)


def test_members_that_are_to_be_kept_stay_however_weak() -> None:
    pm, (low, high) = ensemble(0.0, 0.0)
    for index in (0, 1):
        pm.record_agent_score(index, float(index))
    assert pm.prune(5, keep=(low,)) == [high]


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
    assert (pm.agents, pm.weights) == ((high,), (1.0,))
    (member,) = pm.members_state(lambda agent: "")["members"]
    assert member["scores"] == [9.0]


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
    for factor in ("a", None, math.inf):
        with pytest.raises(InvalidArgumentError, match="factor must be a finite number"):
            pm.boost(one, factor)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="The weight of member '0' must be a finite number of at least 0"):
        pm.set_mixture({"0": -1.0})
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
    with pytest.raises(InvalidArgumentError, match="scores must be a mapping from index to score, but got"):
        pm.update_weights([1.0, 2.0])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="bottom_k must be a whole number of at least 1"):
        pm.prune(0)
    with pytest.raises(InvalidArgumentError, match="bottom_k must be a whole number"):
        pm.prune("a")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="There is no member 'a'"):
        pm.update_weights({"a": 1})  # type: ignore[dict-item]
    with pytest.raises(InvalidArgumentError, match=r"There is no member 0\.5"):
        pm.record_agent_score(0.5, 1.0)  # type: ignore[arg-type]
    with pytest.raises(EvolutionError, match="no members"):
        Ensemble().ensemble_action([0.0])
    assert (pm.ensemble_size, pm.weights) == (2, (1.0, 1.0))
