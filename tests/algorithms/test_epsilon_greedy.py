"""The policy of DQN: ε of its actions are random among those allowed, the others the best of those."""

import numpy as np
import pytest

from tensor_optix.algorithms._epsilon_greedy import choose, mode, probabilities

VALUES = np.array([[1.0, 3.0, 2.0], [9.0, 0.0, 5.0]], np.float32)
MASKS = np.array([[True, False, True], [False, True, True]])


@pytest.mark.parametrize(("masks", "best"), [(None, [1, 0]), (MASKS, [2, 2])])
def test_the_mode_is_the_best_allowed_action(masks: np.ndarray | None, best: list[int]) -> None:
    assert mode(VALUES, masks).tolist() == best
    assert mode(VALUES, masks).dtype == np.int64
    assert choose(VALUES, masks, 0.0, np.random.default_rng(0)).tolist() == best


def test_a_forbidden_action_is_not_the_best_even_where_all_allowed_ones_are_dreadful() -> None:
    values = np.array([[0.0, -1e6, -2e6]], np.float32)
    assert mode(values, np.array([[False, True, True]])).tolist() == [1]


@pytest.mark.parametrize("masks", [None, MASKS])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_actions_are_drawn_as_often_as_their_probabilities_say(masks: np.ndarray | None, epsilon: float) -> None:
    rng, n = np.random.default_rng(0), 20_000
    repeated = np.repeat(VALUES, n, axis=0)
    drawn = choose(repeated, None if masks is None else np.repeat(masks, n, axis=0), epsilon, rng).reshape(2, n)
    shares = np.stack([np.bincount(row, minlength=3) / n for row in drawn])
    assert np.allclose(shares, probabilities(VALUES, masks, epsilon), atol=0.015)


def test_epsilon_is_shared_by_the_allowed_actions_and_the_rest_is_the_best_ones() -> None:
    assert probabilities(VALUES, None, 0.3) == pytest.approx(np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]))
    assert probabilities(VALUES, MASKS, 0.3) == pytest.approx(np.array([[0.15, 0.0, 0.85], [0.0, 0.15, 0.85]]))
    assert np.allclose(probabilities(VALUES, MASKS, 1.0).sum(-1), 1.0)


def test_the_same_generator_chooses_the_same() -> None:
    first, second = (choose(VALUES, MASKS, 0.5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
