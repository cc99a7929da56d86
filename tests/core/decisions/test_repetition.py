"""Episodes that are the same again are known as such, and those that are not never."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.core.decisions.repetition import ENOUGH_EPISODES, ENOUGH_STEPS, Repetition, is_again, starts_of
from tensor_optix.core.types import EpisodeData
from tensor_optix.support.trees import objects


def window(*episodes: tuple[Any, Any, Any], **more: Any) -> EpisodeData:
    """Whole episodes of (observations, actions, rewards)."""
    ends = np.concatenate([np.arange(len(rewards)) == len(rewards) - 1 for _, _, rewards in episodes])
    return EpisodeData(
        observations=np.concatenate([np.asarray(o, np.float32) for o, _, _ in episodes]),
        actions=np.concatenate([np.asarray(a) for _, a, _ in episodes]),
        rewards=np.concatenate([np.asarray(r, np.float32) for _, _, r in episodes]),
        terminated=ends,
        truncated=np.zeros_like(ends),
        **more,
    )


class Incomparable:
    """An observation of one's own, such as a frame of data."""

    def __eq__(self, other: object) -> Any:
        return np.ones(2, bool)

    __hash__ = None  # type: ignore[assignment]


def in_form(form: str, numbers: np.ndarray) -> EpisodeData:
    """Three episodes of 300 steps that see a number each, in some form."""
    made: dict[str, Any] = {
        "sequences": lambda: objects([(np.full(2, n, np.float32),) * (n % 3) + (n,) for n in numbers]),
        "graphs": lambda: objects([spaces.GraphInstance(np.full((1, 2), n), None, None) for n in numbers]),
        "tuple": lambda: (numbers, np.stack([numbers, -numbers], axis=1)),
        "dict": lambda: {"a": numbers, "b": (numbers,)},
        "incomparable": lambda: objects([Incomparable() for _ in numbers]),
    }
    whole = window(PLAYED, PLAYED, PLAYED)
    return replace(whole, observations=made[form]())


ROWS = np.arange(300)
PLAYED = (ROWS, ROWS % 2, ROWS * 0.5)
ACTED_OTHERWISE = (ROWS, (ROWS + 1) % 2, ROWS * 0.25)
BEGUN_OTHERWISE = (ROWS + 1, ROWS % 2, ROWS * 0.5)
PAID_OTHERWISE = (ROWS, ROWS % 2, ROWS * 0.25)
PULL = (np.zeros(1), [0], [1.0])
LUCKY_PULL = (np.zeros(1), [1], [0.0])


class TestRepetition:
    def test_episodes_that_are_the_same_throughout(self) -> None:
        found = Repetition().seen(window(PLAYED, PLAYED, PLAYED))
        assert found.is_certain
        assert (found.episodes, found.steps, found.length) == (3, 600, 300)

    def test_a_record_that_no_action_alters(self) -> None:
        assert Repetition().seen(window(PLAYED, ACTED_OTHERWISE)).is_certain

    @pytest.mark.parametrize("other", [BEGUN_OTHERWISE, PAID_OTHERWISE, (ROWS[:9], ROWS[:9] % 2, ROWS[:9] * 0.5)])
    def test_one_difference_refutes_it_for_good(self, other: Any) -> None:
        found = Repetition().seen(window(PLAYED, other))
        assert found.is_refuted
        assert found.seen(window(PLAYED, PLAYED, PLAYED)).is_refuted
        assert not found.is_certain

    @pytest.mark.parametrize("form", ["sequences", "graphs", "tuple", "dict"])
    def test_observations_that_are_no_plain_array(self, form: str) -> None:
        found = Repetition().seen(in_form(form, np.tile(ROWS, 3)))
        assert found.is_certain
        assert (found.episodes, found.length) == (3, 300)
        assert Repetition().seen(in_form(form, np.append(np.tile(ROWS, 2), ROWS + 1))).is_refuted

    def test_what_cannot_be_compared_is_not_the_same(self) -> None:
        assert Repetition().seen(in_form("incomparable", np.tile(ROWS, 3))).is_refuted

    def test_rewards_by_chance_at_one_observation_are_no_record(self) -> None:
        assert Repetition().seen(window(PULL, LUCKY_PULL)).is_refuted

    def test_a_few_steps_may_be_the_same_by_chance(self) -> None:
        few = Repetition().seen(window(*[PULL] * (ENOUGH_EPISODES - 1)))
        assert not few.is_certain
        assert not few.is_refuted
        assert few.seen(window(PULL, PULL)).is_certain
        short = (ROWS[:100], ROWS[:100], ROWS[:100])
        assert Repetition().seen(window(short, short)).steps < ENOUGH_STEPS
        assert not Repetition().seen(window(short, short)).is_certain

    @pytest.mark.parametrize("tells_nothing", [window(PLAYED), window(PLAYED, PLAYED, n_envs=2)])
    def test_one_episode_or_several_environments_tell_nothing(self, tells_nothing: EpisodeData) -> None:
        assert Repetition().seen(tells_nothing) == Repetition()

    def test_observations_in_parts(self) -> None:
        plain = window(PLAYED, PLAYED)
        parts = {"price": plain.observations, "position": np.asarray(plain.actions)}
        same = EpisodeData(parts, plain.actions, plain.rewards, plain.terminated, plain.truncated)
        assert Repetition().seen(same).is_certain
        parts = {**parts, "position": ROWS[:1].repeat(600).cumsum() + np.arange(600)}
        other = EpisodeData(parts, plain.actions, plain.rewards, plain.terminated, plain.truncated)
        assert Repetition().seen(other).is_refuted


def test_rows_that_no_array_holds_are_not_compared() -> None:
    plain = window(PLAYED, PLAYED)
    ragged = [[0.0] * (n % 2 + 1) for n in range(600)]
    found = EpisodeData(ragged, plain.actions, plain.rewards, plain.terminated, plain.truncated)
    assert Repetition().seen(found).is_refuted
    assert not is_again(found, [found])
    assert list(starts_of(found, is_new=True)) == []


def test_a_window_that_came_before_comes_again() -> None:
    assert is_again(window(PLAYED), [window(BEGUN_OTHERWISE), window(PLAYED)])
    assert not is_again(window(PLAYED), [window(BEGUN_OTHERWISE), window(PULL)])
    assert not is_again(window(PLAYED), [])


def test_beginnings_of_episodes() -> None:
    first, second = (tuple(starts_of(window(PLAYED, BEGUN_OTHERWISE), is_new=new)) for new in (True, False))
    assert len(first) == 2
    assert first[1:] == second
    assert set(starts_of(window(PLAYED), is_new=True)) == {first[0]}
    assert list(starts_of(window(PLAYED, n_envs=2), is_new=True)) == []
