import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tensor_optix import BackoffScheduler, LoopConfig, LoopState, Patience, simulate
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.errors import InvalidArgumentError

STEPS = np.arange(1, 1_001) * 2_048
PLAIN = LoopConfig(scheduler=BackoffScheduler(max_interval=1))


def rising(n: int, end: int) -> np.ndarray:
    return 100.0 * np.minimum(np.arange(n) / end, 1.0)


def test_by_default_it_waits_as_the_scale_of_the_curve_asks_for() -> None:
    decisions = simulate(rising(1_000, 100), [0.1] * 1_000, STEPS)
    assert decisions[-1].state is LoopState.DORMANT
    assert decisions[-1].steps == pytest.approx(4.5 * 100 * 2_048, rel=0.05)
    assert decisions[-1].patience.is_exhausted
    assert str(decisions[-1].patience).startswith("quiet for ")
    assert decisions[0].verdict is Verdict.IMPROVED
    assert [one.state for one in decisions].count(LoopState.DORMANT) == 1


def test_many_episodes_of_little_noise_end_it_sooner() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.5, 1_000)
    ended = simulate(rising(1_000, 100) + noise, [0.5] * 1_000, STEPS, episodes=np.arange(1, 1_001) * 200)
    assert ended[-1].steps < 160 * 2_048


def test_a_threshold_by_hand_is_the_whole_rule() -> None:
    decisions = simulate(rising(1_000, 100), [0.0] * 1_000, STEPS, PLAIN)
    assert decisions[-1].state is LoopState.DORMANT
    assert decisions[-1].no_improvement == 20
    assert decisions[-1].index == 120
    assert str(decisions[-1].patience) == "20 of 20 evaluations without improvement"


def test_what_still_rises_goes_on() -> None:
    decisions = simulate(np.arange(400.0), None, STEPS[:400])
    assert [one.index for one in decisions] == list(range(400))
    assert all(one.is_best and one.state is LoopState.ACTIVE for one in decisions)


def test_windows_that_are_not_due_are_passed_over() -> None:
    decisions = simulate(rising(1_000, 100), [0.1] * 1_000, STEPS)
    gaps = np.diff([one.index for one in decisions])
    assert gaps.max() > 1
    assert gaps[:90].max() == 1


def test_the_end_of_the_budget_ends_it() -> None:
    assert len(simulate(np.arange(50.0), None, STEPS[:50], LoopConfig(max_episodes=7))) == 7
    assert simulate(np.arange(50.0), None, STEPS[:50], LoopConfig(max_steps=int(STEPS[4])))[-1].steps == STEPS[4]
    assert simulate(np.arange(50.0), None, STEPS[:50], LoopConfig(target_score=3.0))[-1].score == 3.0


def test_scores_without_evidence_decide_nothing() -> None:
    decisions = simulate([1.0, math.nan, 2.0], None, STEPS[:3])
    assert decisions[1].verdict is Verdict.NO_EVIDENCE
    assert not decisions[1].is_best
    assert simulate([], None, []) == []


def test_it_is_pure() -> None:
    scores = np.random.default_rng(0).normal(size=300)
    once, again = (simulate(scores, [1.0] * 300, STEPS[:300], LoopConfig(patience=Patience())) for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("scores", "errors", "steps", "message"),
    [
        ([1.0, 2.0], None, [1], "must have one length"),
        ([1.0, 2.0], [0.1], [1, 2], "must have one length"),
        ([1.0, 2.0], None, [2, 2], r"steps\[1\] is 2 after 2"),
        ([1.0], None, [0], r"steps\[0\] is 0 after 0"),
        ([1.0], None, [-5], r"steps\[0\] is -5 after 0"),
        ([1.0, 2.0], None, [4, math.inf], r"steps\[1\] is inf after 4"),
        ([1.0], None, [math.nan], r"steps\[0\] is nan after 0"),
        ([1.0, 2.0], None, [0.1, 0.2], r"steps\[0\] is 0.1 after 0"),
        ([1.0, 2.0], [0.1, -0.1], [1, 2], r"std_errs\[1\] is -0.1"),
        (["a"], None, [1], "scores must be a sequence of numbers, but got .'a'"),
        (1.0, None, [1], "scores must be a sequence of numbers, but got 1.0"),
        ([[1.0], [2.0]], None, [1, 2], r"scores must be one number per window, but has the shape \(2, 1\)"),
    ],
)
def test_what_is_no_curve_is_refused(scores: Any, errors: list | None, steps: list, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        simulate(scores, errors, steps)


@pytest.mark.parametrize("episodes", [[2, 1], [-1, 1], [math.nan, 1], [1, math.inf]])
def test_episodes_are_counted_from_the_start(episodes: list) -> None:
    with pytest.raises(InvalidArgumentError, match=r"episodes must not decrease from 0, but episodes\[.\] is"):
        simulate([1.0, 2.0], None, [1, 2], episodes=episodes)


def test_a_configuration_is_one_of_the_loop() -> None:
    with pytest.raises(InvalidArgumentError, match=r"config must be a LoopConfig, but got \{\}"):
        simulate([1.0], None, [1], {})  # type: ignore[arg-type]


def test_what_is_not_known_may_be_none_and_values_may_be_given_one_by_one() -> None:
    known = simulate([1.0, math.nan, 2.0], [0.1, math.nan, 0.1], STEPS[:3])
    given = simulate(iter([1.0, None, 2.0]), iter([0.1, None, 0.1]), (int(step) for step in STEPS[:3]))  # type: ignore[arg-type]
    assert str(given) == str(known)


@pytest.mark.parametrize("score", [0.0, 0.1, 1.0 / 3.0, -0.1, 1e6 + 0.1, 1e-9])
def test_rounding_is_no_rise_whatever_a_constant_score_is(score: float) -> None:
    for errors in (None, [0.0] * 1_000):
        ended = simulate([score] * 1_000, errors, STEPS)
        assert ended[-1].state is LoopState.COOLING
        assert ended[-1].patience.reason == "no clear rise since the first evaluation"
        assert [one.verdict for one in ended].count(Verdict.IMPROVED) == 1


def test_losses_are_simulated_as_their_negatives_are() -> None:
    scores = [1.0, 2.0, 5.0, 4.0, 5.5, *[5.0] * 30]
    steps = list(range(100, 100 * len(scores) + 1, 100))
    usual = simulate(scores, None, steps)
    losses = simulate([-score for score in scores], None, steps, lower_is_better=True)
    assert [replace(one, score=-one.score) for one in losses] == usual
    assert [one.score for one in losses if one.is_best] == [-1.0, -2.0, -5.0, -5.5]
