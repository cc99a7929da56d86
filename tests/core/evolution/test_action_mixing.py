import numpy as np
import pytest

from tensor_optix.core.evolution.action_mixing import act_together, mixed_probabilities
from tensor_optix.errors import NonFiniteError, SpaceError
from tests.helpers import ConstantAgent, TabularAgent

OBSERVATIONS = np.zeros((20000, 1), np.float32)
RNG = np.random.default_rng(0)


def test_probabilities_are_mixed_by_weight() -> None:
    agents = [TabularAgent([0.8, 0.2, 0.0]), TabularAgent([0.0, 0.2, 0.8])]
    mixture = mixed_probabilities(agents, [3.0, 1.0], OBSERVATIONS[:2])
    assert mixture is not None
    np.testing.assert_allclose(mixture, [[0.6, 0.2, 0.2]] * 2)


def test_actions_are_drawn_from_the_mixture_and_never_averaged() -> None:
    agents = [TabularAgent([0.8, 0.2, 0.0]), TabularAgent([0.0, 0.2, 0.8])]
    actions = act_together(agents, [3.0, 1.0], OBSERVATIONS, RNG)
    assert np.issubdtype(actions.dtype, np.integer)
    np.testing.assert_allclose(np.bincount(actions) / len(actions), [0.6, 0.2, 0.2], atol=0.015)
    assert set(act_together(agents, [3.0, 1.0], OBSERVATIONS[:9], RNG, deterministic=True)) == {0}
    assert set(act_together(agents, [1.0, 3.0], OBSERVATIONS[:9], RNG, deterministic=True)) == {2}


def test_the_last_action_of_the_mixture_is_as_likely_as_it_says() -> None:
    # Rounding must not make the cumulated probability fall short of 1 and choose action 0 instead.
    agents = [TabularAgent([0.1] * 10), TabularAgent([0.1] * 10)]
    counts = np.bincount(act_together(agents, [0.3, 0.7], OBSERVATIONS, RNG), minlength=10)
    np.testing.assert_allclose(counts / counts.sum(), 0.1, atol=0.01)


@pytest.mark.parametrize(
    ("actions", "weights", "elected"),
    [
        ([0, 1, 1], [1.0, 1.0, 1.0], 1),
        ([0, 2, 2], [3.0, 1.0, 1.0], 0),  # never 1, which is what a mean would come to
        ([2, 0], [1.0, 1.0], 0),  # of equals the smallest
        ([2, 0], [0.0, 0.0], 0),
        ([True, False, True], [1.0, 1.0, 1.0], True),
    ],
)
def test_who_tells_no_probabilities_votes(actions: list, weights: list[float], elected: int) -> None:
    voters = [ConstantAgent(action) for action in actions]
    assert act_together(voters, weights, OBSERVATIONS[:3], RNG).tolist() == [elected] * 3


def test_one_who_only_acts_makes_it_a_vote_for_all() -> None:
    agents = [TabularAgent([0.0, 1.0]), ConstantAgent(0), ConstantAgent(0)]
    assert mixed_probabilities(agents, [1.0] * 3, OBSERVATIONS[:2]) is None
    assert act_together(agents, [1.0] * 3, OBSERVATIONS[:2], RNG).tolist() == [0, 0]


def test_several_choices_at_once_are_elected_one_by_one() -> None:
    voters = [ConstantAgent(np.array(action)) for action in ([0, 2], [1, 2], [1, 0])]
    assert act_together(voters, [1.0] * 3, OBSERVATIONS[:1], RNG).tolist() == [[1, 2]]


def test_numbers_are_averaged_by_weight() -> None:
    agents = [ConstantAgent(np.array([1.0, -1.0], np.float32)), ConstantAgent(np.array([0.0, 1.0], np.float32))]
    actions = act_together(agents, [3.0, 1.0], OBSERVATIONS[:2], RNG)
    np.testing.assert_allclose(actions, [[0.75, -0.5]] * 2)
    assert actions.dtype == np.float32


@pytest.mark.parametrize("action", ["buy", None, {"side": "buy"}])
def test_actions_that_are_no_numbers_are_refused(action: object) -> None:
    with pytest.raises(SpaceError, match="must answer with numbers, but ConstantAgent answered"):
        act_together([ConstantAgent(action), ConstantAgent(action)], [1.0, 1.0], OBSERVATIONS[:2], RNG)


def test_probabilities_that_are_not_finite_are_refused_and_do_not_choose_the_first_action() -> None:
    agents = [TabularAgent([0.5, 0.5]), TabularAgent([float("nan"), 0.5])]
    with pytest.raises(NonFiniteError, match="TabularAgent gave action probabilities that are not finite"):
        act_together(agents, [1.0, 1.0], OBSERVATIONS[:2], RNG)


@pytest.mark.parametrize(
    "agents",
    [
        [TabularAgent([0.5, 0.5]), TabularAgent([0.2, 0.3, 0.5])],
        [ConstantAgent(1), ConstantAgent(np.array([0.5]))],
        [ConstantAgent(1), ConstantAgent(0.5)],
        [ConstantAgent(np.array([0.5, 0.5])), ConstantAgent(np.array([0.5]))],
    ],
    ids=["numbers of actions", "a choice and a number", "an int and a float", "shapes"],
)
def test_agents_of_different_action_spaces_are_refused(agents: list) -> None:
    with pytest.raises(SpaceError, match="must share one action space"):
        act_together(agents, [1.0, 1.0], OBSERVATIONS[:1], RNG)
