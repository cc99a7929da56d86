"""The goals that are no published figures are those of the optimal policies, by dynamic programming."""

import itertools
from functools import cache

import gymnasium as gym
import numpy as np
import pytest

from benchmarks import _worlds
from benchmarks._field_tasks import EASY, FIELD, REPORTED, Task
from tensor_optix.factory import resolve_algorithm

GOALS = {task.env: task.goal for task in (*FIELD, *EASY)}


def optimal_return(env_id: str, horizon: int) -> float:
    """Return the highest expected return within so many steps."""
    env = gym.make(env_id).unwrapped
    moves, values = env.P, np.zeros(len(env.P))
    for _ in range(horizon):
        values = np.array(
            [
                max(sum(p * (r + (not over) * values[to]) for p, to, r, over in outcomes) for outcomes in row.values())
                for row in moves.values()
            ]
        )
    return float(values @ env.initial_state_distrib)


@pytest.mark.parametrize(("env_id", "horizon"), [("FrozenLake-v1", 100), ("CliffWalking-v1", 30), ("Taxi-v4", 30)])
def test_the_goal_is_the_return_of_the_optimal_policy(env_id: str, horizon: int) -> None:
    assert optimal_return(env_id, horizon) == pytest.approx(GOALS[env_id], abs=0.001)


CARDS = {**dict.fromkeys(range(1, 10), 1 / 13), 10: 4 / 13}
Hand = tuple[int, bool]
"""Points with each ace as 1, and whether there is an ace."""


def drawn(hand: Hand, card: int) -> Hand:
    return hand[0] + card, hand[1] or card == 1


def score(hand: Hand) -> int:
    points, has_ace = hand
    total = points + 10 if has_ace and points <= 11 else points
    return total if total <= 21 else 0


@cache
def dealer_scores(hand: Hand) -> dict[int, float]:
    """Return the chance of each final score of a dealer who stands on 17."""
    if score(hand) >= 17 or not score(hand):
        return {score(hand): 1.0}
    found: dict[int, float] = {}
    for card, p in CARDS.items():
        for final, chance in dealer_scores(drawn(hand, card)).items():
            found[final] = found.get(final, 0.0) + p * chance
    return found


@cache
def blackjack_value(hand: Hand, shown: int) -> float:
    """Return the value of a hand against the dealer's first card, played as well as possible."""
    if not score(hand):
        return -1.0
    sticks = sum(p * float(np.sign(score(hand) - final)) for final, p in dealer_scores((shown, shown == 1)).items())
    return max(sticks, sum(p * blackjack_value(drawn(hand, card), shown) for card, p in CARDS.items()))


def test_the_goal_of_blackjack_is_the_return_of_the_optimal_policy() -> None:
    total = 0.0
    for shown, first, second in itertools.product(CARDS, repeat=3):
        chance, is_natural = CARDS[shown] * CARDS[first] * CARDS[second], {first, second} == {1, 10}
        beats_it = CARDS[11 - shown] if shown in (1, 10) else 0.0  # only a natural draws with a natural
        value = 1.0 - beats_it if is_natural else blackjack_value((first + second, 1 in (first, second)), shown)
        total += chance * value
    assert total == pytest.approx(GOALS["Blackjack-v1"], abs=0.001)


def test_every_environment_is_named_once_and_exists() -> None:
    _worlds.register()
    for tasks in (FIELD, EASY, REPORTED):
        assert len({task.env for task in tasks}) == len(tasks)
    assert (len(FIELD), len(REPORTED)) == (19, 15)
    assert all(env in gym.registry for env in GOALS)


@pytest.mark.parametrize("task", FIELD[:9], ids=lambda task: task.env)
def test_the_algorithm_is_the_one_that_the_command_line_takes(task: Task) -> None:
    env = gym.make(task.env)
    assert resolve_algorithm("auto", env) == task.algorithm
