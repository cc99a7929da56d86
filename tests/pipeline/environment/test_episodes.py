"""Episodes that can be replayed: their seeds, and the trace of their actions."""

import json
import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.pipeline.environment import episodes
from tensor_optix.pipeline.environment.bad_steps import StepCheck
from tensor_optix.pipeline.environment.episodes import (
    EpisodeTrace,
    described,
    encoded_or_none,
    episode_seed,
    is_same,
    note_foreign_action,
    raised_in,
    replay,
    warn_of_new_episodes,
)
from tensor_optix.pipeline.environment.observations import ObservationForm
from tests.fakes.walk import Walk


def test_seeds_of_episodes_are_fixed() -> None:
    assert [episode_seed(5, n) for n in range(3)] == [5, 266167485, 845851794]
    assert len({episode_seed(0, n) for n in range(1000)}) == 1000
    assert all(0 <= episode_seed(7, n) < 2**31 for n in range(100))


def through_json(state: Any) -> Any:
    return json.loads(json.dumps(state))


def taken(trace: EpisodeTrace) -> list[Any]:
    return [
        None if one is None else one.tolist()
        for one in EpisodeTrace(len(trace.numbers)).restore(through_json(trace.state()))
    ]


class TestTrace:
    def test_the_actions_are_those_since_the_last_end_over_all_windows(self) -> None:
        trace = EpisodeTrace(2)
        trace.add(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[False, True, False], [False, False, False]]))
        assert (trace.numbers, taken(trace)) == ([1, 0], [[3], [4, 5, 6]])
        trace.add(np.array([[7, 8], [9, 10]]), np.array([[False, False], [True, True]]))
        assert (trace.numbers, taken(trace)) == ([1, 2], [[3, 7, 8], []])

    def test_a_restored_trace_goes_on(self) -> None:
        trace, again = EpisodeTrace(), EpisodeTrace()
        trace.add(np.array([[1, 2]]), np.array([[True, False]]))
        again.restore(through_json(trace.state()))
        for each in (trace, again):
            each.add(np.array([[3]]), np.array([[False]]))
        assert taken(again) == taken(trace) == [[2, 3]]
        assert again.numbers == [1]

    def test_an_episode_that_is_left_has_no_actions(self) -> None:
        trace = EpisodeTrace(2)
        trace.add(np.array([[1], [2]]), np.zeros((2, 1), bool))
        trace.begin_next(1, 3)
        assert (trace.numbers, taken(trace)) == ([0, 3], [[1], []])

    def test_an_episode_that_is_too_long_is_not_replayed_and_the_next_one_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(episodes, "MAX_REPLAYED_STEPS", 3)
        trace = EpisodeTrace()
        trace.add(np.array([[1, 2]]), np.zeros((1, 2), bool))
        trace.add(np.array([[3, 4]]), np.zeros((1, 2), bool))
        assert taken(trace) == [None]
        again = EpisodeTrace()
        assert again.restore(through_json(trace.state())) == [None]
        for each in (trace, again):
            each.add(np.array([[5, 6]]), np.array([[False, False]]))
            assert taken(each) == [None]
            each.add(np.array([[7, 8]]), np.array([[True, False]]))
            assert taken(each) == [[8]]

    def test_a_saved_episode_that_is_longer_than_one_that_is_saved_is_not_replayed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trace = EpisodeTrace()
        trace.add(np.array([[1, 2, 3, 4]]), np.zeros((1, 4), bool))
        state = through_json(trace.state())
        monkeypatch.setattr(episodes, "MAX_REPLAYED_STEPS", 3)
        assert EpisodeTrace().restore(state) == [None]

    def test_actions_that_are_no_numbers_are_not_replayed(self) -> None:
        trace = EpisodeTrace()
        trace.add(np.array([[{"move": 1}]], object), np.zeros((1, 1), bool))
        assert taken(trace) == [None]

    def test_what_is_taken_in_is_a_copy(self) -> None:
        trace, actions = EpisodeTrace(), np.array([[1, 2]])
        trace.add(actions, np.zeros((1, 2), bool))
        actions[:] = 9
        assert taken(trace) == [[1, 2]]


def replayed(env: gym.Env, actions: list[Any]) -> Any:
    return replay(env, 3, actions, lambda action: action, StepCheck(ObservationForm(env.observation_space)))


class TestReplay:
    def test_the_same_actions_lead_to_the_same_place(self) -> None:
        env = Walk()
        begun, _ = env.reset(seed=3)
        found = replayed(env, [1, 2])
        assert found is not None
        assert found.observation.tolist() == pytest.approx([begun[0] + 3.0])
        assert np.array_equal(replayed(env, []).observation, begun)

    def test_an_episode_that_ends_under_way_is_none(self) -> None:
        assert replayed(Walk(), [3, 3, 3, 3]) is None

    @pytest.mark.parametrize("env", [Walk(bad_resets=1), Walk(bad_at=2.0)])
    def test_a_bad_step_under_way_is_none(self, env: Walk) -> None:
        assert replayed(env, [1, 2]) is None

    def test_actions_are_given_as_the_environment_takes_them(self) -> None:
        env = Walk()
        check = StepCheck(ObservationForm(env.observation_space))
        found = replay(env, 3, [1], lambda action: action + 2, check)
        assert found is not None
        assert found.observation[0] == pytest.approx(found.info.get("start", env.place))


def test_observations_are_compared_bit_for_bit() -> None:
    observation = np.array([0.1, np.nan], np.float32)
    saved = encoded_or_none(observation)
    assert is_same(observation, saved)
    assert not is_same(np.nextafter(observation, 1.0), saved)
    assert not is_same(observation.astype(np.float64), saved)
    assert not is_same(observation, None)
    assert encoded_or_none({"no": object()}) is None


@pytest.mark.parametrize(
    ("seed", "is_too_long", "reason"),
    [
        (None, False, "pass seed="),
        (None, True, "pass seed="),
        (1, True, "100,000 steps"),
        (1, False, "not deterministic"),
    ],
)
def test_a_new_episode_is_told_with_its_reason(
    caplog: pytest.LogCaptureFixture, seed: int | None, is_too_long: bool, reason: str
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_new_episodes(seed, is_too_long)
    assert [reason in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("space", "action", "shown"),
    [
        (gym.spaces.Discrete(2), 7, "7"),
        (gym.spaces.Discrete(2), np.array([1]), "array([1])"),
        (gym.spaces.Discrete(2), (1, {"logp": 0.1}), "(1, {'logp': 0.1})"),
        (gym.spaces.Box(-1, 1, (2,)), np.array([[0.5], [2.0]]), "array([[0.5], [2. ]])"),
        (gym.spaces.Dict(a=gym.spaces.Discrete(2)), None, "None"),
    ],
)
def test_an_action_of_another_space_is_told_beside_what_it_led_to(space: Any, action: Any, shown: str) -> None:
    error = AssertionError("invalid")
    note_foreign_action(error, action, space)
    told = f"AssertionError: invalid; the agent's action {shown} is not in {space}: look at what its act returns"
    assert described(error) == told
    assert raised_in("step", error).startswith(f"raised in step: {told}\n\n")


def test_nothing_is_told_of_an_action_that_the_environment_should_have_taken() -> None:
    error = LookupError("the cable is out")
    note_foreign_action(error, np.int64(1), gym.spaces.Discrete(2))
    assert described(error) == "LookupError: the cable is out"
