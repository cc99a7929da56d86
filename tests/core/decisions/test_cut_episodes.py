"""Windows of episodes that are cut, and what a longer bound does to a learning curve."""

from dataclasses import replace

import numpy as np
import pytest

from tensor_optix.core.decisions.cut_episodes import cut_after, limit_of
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.types import EpisodeData, EpisodeSummary, PlayedWindow


def window(*lengths: int, n_envs: int = 1) -> EpisodeData:
    """Whole episodes, the last step of each of which is its end; a step's reward is its number in the window."""
    steps = sum(lengths)
    terminated = np.zeros(steps, bool)
    terminated[np.cumsum(lengths) - 1] = True
    rewards = np.arange(steps, dtype=np.float64)
    ends = np.cumsum(lengths)
    return EpisodeData(
        {"at": rewards[:, None]},
        np.arange(steps),
        rewards,
        terminated,
        np.zeros(steps, bool),
        infos=[{"step": step} for step in range(steps)],
        completed=tuple(EpisodeSummary(float(rewards[e - n : e].sum()), n) for e, n in zip(ends, lengths, strict=True)),
        n_envs=n_envs,
        metadata={"seeds": (1, 2)},
    )


def test_each_episode_is_cut_by_itself() -> None:
    cut = cut_after(window(2, 5, 3), 3)
    assert cut.rewards.tolist() == [0, 1, 2, 3, 4, 7, 8, 9]
    assert cut.observations["at"][:, 0].tolist() == cut.actions.tolist() == cut.rewards.tolist()
    assert [info["step"] for info in cut.infos] == cut.rewards.tolist()
    assert np.flatnonzero(cut.terminated).tolist() == [1, 7]
    assert np.flatnonzero(cut.truncated).tolist() == [4]
    assert [(one.total_return, one.length) for one in cut.completed_episodes()] == [(1.0, 2), (9.0, 3), (24.0, 3)]
    assert cut.metadata == {"seeds": (1, 2)}


@pytest.mark.parametrize("steps", [5, 6, 1_000])
def test_episodes_that_are_no_longer_stay_as_they_are(steps: int) -> None:
    whole = window(2, 5, 3)
    cut = cut_after(whole, steps)
    assert cut.rewards.tolist() == whole.rewards.tolist()
    assert cut.terminated.tolist() == whole.terminated.tolist()
    assert not cut.truncated.any()


def test_a_window_of_several_environments_is_cut_too() -> None:
    assert cut_after(window(4, 4, n_envs=2), 1).rewards.tolist() == [0, 4]


def test_the_score_of_a_cut_window_is_that_of_the_returns_so_far() -> None:
    score = EpisodeReturnEvaluator().score_validation(cut_after(window(2, 5, 3), 3))
    assert score.primary_score == pytest.approx((1.0 + 9.0 + 24.0) / 3)


def test_the_limit_of_windows_is_that_of_the_longest_episodes_that_were_cut() -> None:
    whole = PlayedWindow(seeds=(0,), returns=(1.0,), score=1.0)
    assert limit_of([whole]) is None
    assert limit_of([]) is None
    assert limit_of([whole, replace(whole, episode_limit=200), replace(whole, episode_limit=400)]) == 400


def test_a_moved_curve_tells_of_the_same_rises() -> None:
    curve, above = ScoreCurve(), ScoreCurve()
    for step in range(1, 600):
        score = -4.0 + min(step, 300) / 100
        curve, above = curve.added(step, score, 0.5), above.added(step, score - 17.0, 0.5)
    moved, expected = curve.moved(-17.0), above
    np.testing.assert_allclose(moved.bins().scores, expected.bins().scores)
    np.testing.assert_array_equal(moved.bins().steps, expected.bins().steps)
    np.testing.assert_allclose(moved.bins().variances, expected.bins().variances)
    assert moved.first_level(3) == pytest.approx(expected.first_level(3))
    assert moved.first_deviation() == expected.first_deviation()
