"""The score of a test, and how far it may be from the truth: from episodes where there are several, else from steps."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.decisions import intervals
from tensor_optix.core.decisions.final_score import FEWEST_STEPS, METHOD, FinalScore, blocks, drawn, final_score
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.types import EpisodeData, EvalMetrics


def passed(rewards: Any, episodes: int = 1, **more: Any) -> EpisodeData:
    """Steps of as many equal episodes."""
    rewards = np.asarray(rewards, np.float64)
    ends = np.arange(1, len(rewards) + 1) % (len(rewards) // episodes) == 0
    steps = np.arange(len(rewards), dtype=np.float32)[:, None]
    return EpisodeData(steps, np.zeros(len(rewards), int), rewards, np.zeros_like(ends), ends, **more)


def mean(window: EpisodeData) -> EvalMetrics:
    return EvalMetrics(float(np.mean(window.rewards)), {}, window.episode_id)


def returns(window: EpisodeData) -> EvalMetrics:
    return EpisodeReturnEvaluator().score(window, {})


class TestOnePass:
    def test_the_interval_is_that_of_the_steps(self) -> None:
        rewards = np.random.default_rng(0).normal(0.1, 1.0, size=900)
        found = final_score(passed(rewards), mean)
        assert (found.score, found.steps) == (pytest.approx(rewards.mean()), 900)
        assert found.interval is not None
        width = found.interval.high - found.interval.low
        assert width == pytest.approx(2 * 1.96 * rewards.std() / 30, rel=0.25)
        assert (found.interval.method, found.interval.episodes) == (METHOD, 1)

    @pytest.mark.parametrize(("passes", "least"), [(20, 16), pytest.param(60, 50, marks=pytest.mark.slow)])
    def test_it_holds_the_truth_as_often_as_it_says(self, passes: int, least: int) -> None:
        rng, held = np.random.default_rng(1), 0
        for _ in range(passes):
            interval = final_score(passed(rng.normal(size=200)), mean).interval
            assert interval is not None
            held += interval.low <= 0.0 <= interval.high
        assert held >= least  # 0.95 of 60 are 57; fewer than 50 would be once in ten thousand

    def test_steps_that_depend_on_their_neighbours_make_it_wider(self) -> None:
        shocks = np.random.default_rng(2).normal(size=900)
        slow = np.convolve(shocks, np.ones(20) / math.sqrt(20), mode="same")
        widths = []
        for rewards in (slow, np.random.default_rng(3).permutation(slow)):
            interval = final_score(passed(rewards), mean).interval
            assert interval is not None
            widths.append(interval.high - interval.low)
        assert widths[0] > 2 * widths[1]

    def test_a_return_is_a_score_too(self) -> None:
        rewards = np.random.default_rng(0).normal(0.1, 1.0, size=400)
        found = final_score(passed(rewards), returns)
        assert found.score == pytest.approx(rewards.sum())
        assert found.interval is not None
        assert found.interval.low < rewards.sum() < found.interval.high

    def test_it_is_the_same_each_time(self) -> None:
        window = passed(np.random.default_rng(0).normal(size=100))
        assert final_score(window, mean) == final_score(window, mean)

    def test_the_same_pass_again_is_no_further_evidence(self) -> None:
        rewards = np.random.default_rng(0).normal(size=100)
        twice = passed(np.tile(rewards, 2), episodes=2)
        same = EpisodeData(
            np.tile(twice.observations[:100], (2, 1)), twice.actions, twice.rewards, twice.terminated, twice.truncated
        )
        interval = final_score(same, returns).interval
        assert interval is not None
        assert interval.method == METHOD


class TestWithoutAnInterval:
    def test_a_few_steps_tell_nothing(self) -> None:
        assert final_score(passed(np.ones(FEWEST_STEPS - 1)), mean).interval is None

    def test_a_score_that_is_none_has_none(self) -> None:
        found = final_score(passed(np.ones(100)), lambda window: EvalMetrics(math.nan))
        assert (math.isnan(found.score), found.interval) == (True, None)

    def test_an_evaluator_that_needs_more_than_steps_has_none(self) -> None:
        def picky(window: EpisodeData) -> EvalMetrics:
            if len(window.completed or ()) == 1:
                raise KeyError("only whole windows")
            return EvalMetrics(1.0)

        assert final_score(passed(np.ones(100)), picky) == FinalScore(score=1.0, interval=None, steps=100)


def test_several_episodes_have_the_interval_of_every_score() -> None:
    rewards = np.random.default_rng(0).normal(size=100)
    interval = final_score(passed(rewards, episodes=10), returns).interval
    assert interval is not None
    assert (interval.method, interval.episodes) == (intervals.METHOD, 10)


def test_blocks_are_neighbours_of_the_length_that_is_asked_for() -> None:
    rows = np.array(list(blocks(100, 10.0, 200, np.random.default_rng(0))))
    assert rows.shape == (200, 100)
    assert set(rows.ravel()) == set(range(100))
    begins = (np.diff(rows, axis=1) % 100 != 1).mean()
    assert begins == pytest.approx(0.1, abs=0.01)


def test_drawn_rows_keep_what_belongs_to_them() -> None:
    infos = [{"row": n} for n in range(4)]
    window = passed([1.0, 2.0, 3.0, 4.0], infos=infos, action_masks=np.eye(4, dtype=bool))
    found = drawn(window, np.array([3, 3, 0]))
    assert found.observations[:, 0].tolist() == [3, 3, 0]
    assert found.rewards.tolist() == [4.0, 4.0, 1.0]
    assert [info["row"] for info in found.infos] == [3, 3, 0]
    assert found.action_masks.argmax(1).tolist() == [3, 3, 0]
    assert found.dones.tolist() == [False, False, True]
    assert found.completed is not None
    assert [(e.total_return, e.length) for e in found.completed] == [(9.0, 3)]


def test_members_of_observations_are_drawn_alike() -> None:
    window = passed([1.0, 2.0, 3.0])
    members = (np.arange(3), {"b": np.arange(6).reshape(3, 2)})
    found = drawn(dataclasses.replace(window, observations=members), np.array([2, 0]))
    assert found.observations[0].tolist() == [2, 0]
    assert found.observations[1]["b"].tolist() == [[4, 5], [0, 1]]


def test_a_report_says_on_what_it_was_scored() -> None:
    found = final_score(passed(np.random.default_rng(0).normal(size=2000)), mean)
    assert found.text == "2,000 steps that nothing was chosen by; 95% stationary bootstrap of the steps"
    assert FinalScore(score=1.0, interval=None, steps=5).text == "5 steps that nothing was chosen by"
