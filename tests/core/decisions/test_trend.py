import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.decisions.trend import (
    Verdict,
    all_alike,
    degradation_drop,
    has_risen,
    is_improvement,
    judge,
    noise_of,
    recent,
    recent_scores,
    slope,
    standard_error,
    train_scores,
)
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import ContractError

IMPROVED, FLAT, DEGRADED, NO_EVIDENCE = Verdict.IMPROVED, Verdict.FLAT, Verdict.DEGRADED, Verdict.NO_EVIDENCE
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("candidate", "reference", "margin", "better"),
    [
        (2.0, 1.0, 0.0, True),
        (1.0, 1.0, 0.0, False),  # a tie is not better
        (0.5, 1.0, 0.0, False),
        (-1.0, -2.0, 0.0, True),
        (-2.0, -1.0, 0.0, False),
        (-99.0, -100.0, 2.0, False),  # a margin is added, whatever the sign
        (-97.0, -100.0, 2.0, True),
        (2.0, 1.0, 1.0, False),  # more than the margin, not the margin itself
        (-1e9, None, 0.0, True),
        (-1e9, NAN, 0.0, True),
        (-1e9, INF, 0.0, True),
        (-1e9, None, 5.0, True),
        (NAN, None, 0.0, False),
        (NAN, 1.0, 0.0, False),
        (INF, 1.0, 0.0, False),
        (INF, None, 0.0, False),
        (-INF, NAN, 0.0, False),
    ],
)
def test_better_is_a_finite_score_above_the_reference_by_more_than_the_margin(
    candidate: float, reference: float | None, margin: float, better: bool
) -> None:
    assert is_improvement(candidate, reference, margin) is better


scores = st.floats(-1e6, 1e6)


@given(scores, scores)
def test_no_two_scores_are_better_than_each_other(one: float, other: float) -> None:
    assert not (is_improvement(one, other) and is_improvement(other, one))
    assert is_improvement(one, other) or is_improvement(other, one) or one == pytest.approx(other, rel=2e-10, abs=0.0)


@given(st.floats(-1e6, 1e6).filter(lambda score: abs(score) > 1e-6), st.integers(-8, 8))
def test_rounding_is_no_improvement_and_no_degradation(score: float, ulps: int) -> None:
    rounded = score + ulps * math.ulp(score)
    assert not is_improvement(rounded, score)
    assert judge(EvalMetrics(rounded), score, [EvalMetrics(score)] * 3, degradation_threshold=1.0) is FLAT
    assert is_improvement(score + 1e-8 * abs(score), score)  # and a small rise is one


@given(st.floats(0.01, 1e3), st.lists(st.integers(1, 60), min_size=2, max_size=80), st.integers(5, 40))
def test_means_of_equal_returns_never_rise(value: float, episodes: list[int], patience: int) -> None:
    means = np.array([sum([value] * n) / n for n in episodes])
    verdicts = [bool(has_risen(means[:n], noise_of(means[:n]), patience)) for n in range(2, len(means) + 1)]
    assert not any(verdicts)


@pytest.mark.parametrize(
    ("best", "threshold", "min_drop", "drop"),
    [
        (100.0, 0.95, 0.0, 5.0),
        (-100.0, 0.95, 0.0, 5.0),  # |best|: a bad best may fall as far as a good one
        (0.0, 0.95, 0.0, 0.0),
        (0.0, 0.95, 2.0, 2.0),
        (100.0, 0.95, 20.0, 20.0),
        (100.0, 0.5, 20.0, 50.0),
        (100.0, 1.0, 0.0, 0.0),
    ],
)
def test_the_drop_is_a_share_of_the_best_and_at_least_the_smallest(
    best: float, threshold: float, min_drop: float, drop: float
) -> None:
    assert degradation_drop(best, threshold, min_drop) == pytest.approx(drop)


@pytest.mark.parametrize(
    ("score", "best", "options", "verdict"),
    [
        (1.0, None, {}, IMPROVED),
        (-1e9, None, {}, IMPROVED),
        (101.0, 100.0, {}, IMPROVED),
        (101.0, 100.0, {"improvement_margin": 1.0}, FLAT),
        (101.5, 100.0, {"improvement_margin": 1.0}, IMPROVED),
        (100.0, 100.0, {}, FLAT),
        (95.5, 100.0, {}, FLAT),
        (94.5, 100.0, {}, DEGRADED),
        (50.0, 100.0, {"degradation_threshold": 0.5}, FLAT),  # below the line, not on it
        (49.9, 100.0, {"degradation_threshold": 0.5}, DEGRADED),
        (94.5, 100.0, {"min_degradation_drop": 10.0}, FLAT),
        (89.9, 100.0, {"min_degradation_drop": 10.0}, DEGRADED),
        (99.9, 100.0, {"degradation_threshold": 1.0}, DEGRADED),
        # negative scores
        (-99.0, -100.0, {}, IMPROVED),
        (-104.0, -100.0, {}, FLAT),
        (-106.0, -100.0, {}, DEGRADED),
        (-106.0, -100.0, {"min_degradation_drop": 10.0}, FLAT),
        # a best of zero has no share to fall by
        (-0.5, 0.0, {}, DEGRADED),
        (-0.5, 0.0, {"min_degradation_drop": 1.0}, FLAT),
        # a trial's dip is its own fault, its success is a success
        (10.0, 100.0, {"is_probing": True}, FLAT),
        (-1e9, -100.0, {"is_probing": True}, FLAT),
        (101.0, 100.0, {"is_probing": True}, IMPROVED),
        # a best that is no number is beaten by any
        (-5.0, NAN, {}, IMPROVED),
    ],
)
def test_the_verdict(score: float, best: float | None, options: dict[str, float], verdict: Verdict) -> None:
    assert judge(EvalMetrics(score), best, **options) is verdict


@pytest.mark.parametrize("best", [None, 0.0, 100.0, -100.0])
@pytest.mark.parametrize("is_probing", [False, True])
@pytest.mark.parametrize(
    "metrics",
    [EvalMetrics(NAN), EvalMetrics(INF), EvalMetrics(-INF), EvalMetrics(1e9, has_evidence=False)],
    ids=["nan", "inf", "-inf", "no evidence"],
)
def test_nothing_is_decided_without_a_usable_score(metrics: EvalMetrics, best: float | None, is_probing: bool) -> None:
    assert judge(metrics, best, is_probing=is_probing) is NO_EVIDENCE


@given(scores, scores, st.floats(-1e6, 1e6))
def test_the_verdict_does_not_change_when_all_scores_are_shifted_and_drops_are_absolute(
    score: float, best: float, shift: float
) -> None:
    score, best, shift = round(score), round(best), round(shift)  # exact sums
    options = {"improvement_margin": 3.0, "degradation_threshold": 1.0, "min_degradation_drop": 7.0}
    here = judge(EvalMetrics(float(score)), float(best), **options)
    assert judge(EvalMetrics(float(score + shift)), float(best + shift), **options) is here


# --- slope ---


@given(st.floats(-100, 100), st.floats(-100, 100), st.integers(2, 20))
def test_the_slope_of_a_line_is_its_slope(rise: float, start: float, n: int) -> None:
    assert slope([start + rise * i for i in range(n)]) == pytest.approx(rise, abs=1e-9)


@given(st.floats(-100, 100), st.sets(st.integers(0, 100), min_size=2, max_size=8))
def test_the_slope_of_a_line_is_its_slope_wherever_it_was_measured(rise: float, steps: set[int]) -> None:
    times = sorted(steps)
    assert slope([rise * time for time in times], times) == pytest.approx(rise, abs=1e-8)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=10))
def test_the_slope_turns_round_with_time_and_with_the_sign(values: list[float]) -> None:
    assert slope(values[::-1]) == pytest.approx(-slope(values), abs=1e-9)
    assert slope([-value for value in values]) == pytest.approx(-slope(values), abs=1e-9)
    assert slope([value + 5.0 for value in values]) == pytest.approx(slope(values), abs=1e-9)


def test_the_slope_by_hand() -> None:
    # x - mean = -1, 0, 1; s - mean = -2, 1, 1: (2 + 0 + 1) / 2
    assert slope([0.0, 3.0, 3.0]) == pytest.approx(1.5)
    # x = 0, 1, 4: x - 5/3 = -5/3, -2/3, 7/3; s - 2 = -2, -1, 3: (10/3 + 2/3 + 21/3) / (78/9)
    assert slope([0.0, 1.0, 5.0], [0, 1, 4]) == pytest.approx(11.0 / (78.0 / 9.0))


@pytest.mark.parametrize("values", [[], [7.0]])
def test_fewer_than_two_scores_have_no_slope(values: list[float]) -> None:
    assert slope(values) == 0.0


# --- the trend ---


PLATEAU = np.tile([90.0, 110.0, 100.0, 95.0, 105.0], 8)


def evaluations(scores: list[float], std_err: float | None = None) -> list[EvalMetrics]:
    return [EvalMetrics(score, {} if std_err is None else {"score_std_err": std_err}) for score in scores]


@pytest.mark.parametrize(
    ("scores", "risen"),
    [
        ([1.0, 2.0], True),
        ([2.0, 1.0], False),
        ([1.0, 1.0], False),
        ([1.0, 5.0, 4.0], False),
        ([-200.0] * 30 + [-199.0], True),  # a flat start is no noise: the first success counts
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], True),
    ],
)
def test_without_noise_a_rise_is_a_new_maximum(scores: list[float], risen: bool) -> None:
    values = np.array(scores)
    assert bool(has_risen(values, noise_of(values), patience=20)) is risen


def test_a_lucky_score_is_no_rise_and_a_higher_level_is() -> None:
    lucky = np.append(PLATEAU, PLATEAU.max() + 1.0)
    assert not has_risen(lucky, noise_of(lucky), patience=20)
    # Ten scores a little higher, none of them above the plateau's luckiest.
    step = np.append(PLATEAU, np.full(10, 108.0))
    assert step[-1] < PLATEAU.max()
    assert has_risen(step, noise_of(step), patience=20)


def test_a_swing_back_to_an_old_level_is_no_rise() -> None:
    swinging = 100.0 + 10.0 * np.sin(2 * np.pi * np.arange(80) / 16)
    verdicts = [bool(has_risen(swinging[:n], np.array(0.0), 20)) for n in range(20, 80)]
    assert not any(verdicts)
    assert not any(has_risen(swinging[:n], noise_of(swinging[:n]), 20) for n in range(20, 80))


def test_the_margin_is_added() -> None:
    values = np.array([1.0, 2.0])
    assert has_risen(values, np.array(0.0), 20, margin=0.5)
    assert not has_risen(values, np.array(0.0), 20, margin=1.0)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=60), st.integers(-1000, 1000), st.sampled_from([0.5, 2.0]))
def test_the_trend_knows_neither_offset_nor_scale(scores: list[int], offset: int, scale: float) -> None:
    here, there = np.array(scores, float), np.array(scores, float) * scale + offset
    assert noise_of(there) == pytest.approx(float(noise_of(here)) * scale)
    assert bool(has_risen(here, np.array(0.0), 20)) is bool(has_risen(there, np.array(0.0), 20))


def test_the_noise_is_that_of_the_steps_whatever_the_trend_and_the_outliers() -> None:
    rng = np.random.default_rng(1)
    noisy = rng.normal(0.0, 3.0, 400)
    estimates = [float(noise_of(noisy[i : i + 40] + 7.0 * np.arange(40))) for i in range(0, 360, 40)]
    assert np.mean(estimates) == pytest.approx(3.0, rel=0.2)
    outlying = noisy[:40].copy()
    outlying[20] = 1e6
    assert float(noise_of(outlying)) < 6.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=60))
def test_the_noise_is_that_of_numpys_median_bit_for_bit(scores: list[float]) -> None:
    values = np.array(scores)
    bends = np.abs(np.diff(values[-40:], n=2))
    assert float(noise_of(values)) == 1.4826 / math.sqrt(6.0) * float(np.median(bends))


def test_known_errors_are_the_least_that_the_noise_can_be() -> None:
    assert float(noise_of(np.array([5.0] * 8), np.full(8, 2.0))) == 2.0
    assert float(noise_of(np.array([5.0, 6.0]), np.array([2.0, math.nan]))) == 1.0  # an unknown one counts as none
    assert float(noise_of(np.array([5.0, 6.0]))) == 0.0


def test_the_verdict_follows_the_trend_and_not_the_maximum() -> None:
    plateau = evaluations(list(PLATEAU))
    best = max(m.primary_score for m in plateau)
    assert judge(EvalMetrics(best + 1.0), best, plateau) is FLAT
    assert judge(EvalMetrics(best + 1.0), best) is IMPROVED  # nothing but the best is known
    assert judge(EvalMetrics(best + 50.0), best, plateau) is IMPROVED


@pytest.mark.parametrize(
    ("score", "std_err", "best_std_err", "verdict"),
    [
        (90.0, None, 0.0, DEGRADED),  # below 95, and nothing is known of noise
        (90.0, 3.0, 0.0, DEGRADED),  # 10 is more than 2·3
        (90.0, 6.0, 0.0, FLAT),
        (90.0, 3.0, 4.0, DEGRADED),  # 2·5 = 10: not more; see below
        (90.0, 3.0, math.nan, DEGRADED),
        (96.0, 0.1, 0.0, FLAT),  # evident, but tolerated
    ],
)
def test_a_degradation_is_more_than_the_noise(
    score: float, std_err: float | None, best_std_err: float, verdict: Verdict
) -> None:
    history = evaluations([100.0] * 5, std_err)
    metrics = evaluations([score - (0.1 if best_std_err == 4.0 else 0.0)], std_err)[0]
    assert judge(metrics, 100.0, history, best_std_err=best_std_err) is verdict


def test_one_wild_score_does_not_hide_a_degradation() -> None:
    assert judge(EvalMetrics(50.0), 100.0, evaluations([100.0, 99.0, 101.0, 100.0, 99.0, 100.0])) is DEGRADED


def flat(n: int, **changes: float) -> list[EvalMetrics]:
    metrics = {"score_std_err": 0.0, "train_score": -200.0, "train_score_std_err": 0.0, **changes}
    return [EvalMetrics(-200.0, metrics) for _ in range(n)]


@pytest.mark.parametrize(
    ("evaluations", "is_flat"),
    [
        ([], False),
        (flat(1), True),
        (flat(100), True),
        ([*flat(3), EvalMetrics(-199.0, flat(1)[0].metrics)], False),
        ([*flat(3), *flat(1, train_score=-199.0)], False),  # training has found something
        (flat(3, train_score=-199.0), False),
        (flat(3, score_std_err=0.5), False),
        (flat(3, train_score_std_err=NAN), False),  # nothing is known of the episodes
        (flat(3, train_score_std_err=NAN, episodes=2.0), False),
        (flat(3, train_score_std_err=NAN, episodes=1.0), True),  # the score is its return
        (flat(3, train_score=-199.0, train_score_std_err=NAN, episodes=1.0), False),
        (flat(3, train_score=NAN, train_score_std_err=NAN, episodes=0.0), True),  # no episode has ended
        (flat(3, score_std_err=NAN, val_episodes=1.0), True),
        ([EvalMetrics(-200.0)] * 3, False),
        ([EvalMetrics(-200.0, {"score_std_err": NAN, "episodes": 1.0})] * 3, True),
        ([EvalMetrics(0.3, {"score_std_err": 1e-17}), EvalMetrics(0.1 + 0.2, {"score_std_err": 0.0})], True),
        ([EvalMetrics(-200.0, {"score_std_err": 0.0})] * 3, True),  # nothing is held out
    ],
)
def test_episodes_are_alike_where_each_is_known_to_have_the_same_return(
    evaluations: list[EvalMetrics], is_flat: bool
) -> None:
    assert all_alike(evaluations) is is_flat


# --- what is looked at ---


HISTORY = [EvalMetrics(1.0), EvalMetrics(NAN), EvalMetrics(2.0), EvalMetrics(9.0, has_evidence=False), EvalMetrics(3.0)]


@pytest.mark.parametrize(("window", "expected"), [(1, [3.0]), (2, [2.0, 3.0]), (9, [1.0, 2.0, 3.0])])
def test_the_newest_usable_evaluations_are_looked_at(window: int, expected: list[float]) -> None:
    assert [metrics.primary_score for metrics in recent(HISTORY, window)] == expected
    assert recent_scores(HISTORY, window).tolist() == expected


def test_scores_that_are_no_evaluations_are_refused_with_how_to_wrap_them() -> None:
    with pytest.raises(ContractError, match=r"history must hold EvalMetrics, but got 3\.0.*EvalMetrics\(score\)"):
        recent([EvalMetrics(1.0), 3.0], 2)  # type: ignore[list-item]


def test_the_training_score_is_the_validated_one_and_the_gap() -> None:
    history = [EvalMetrics(5.0, {"generalization_gap": 2.0}), EvalMetrics(4.0)]
    assert train_scores(history).tolist() == [7.0, 4.0]


@pytest.mark.parametrize(
    ("values", "error"),
    [([1.0, 3.0], 1.0), ([2.0, 2.0, 2.0], 0.0), ([0.0, 0.0, 0.0, 4.0], 1.0), ([5.0], math.nan), ([], math.nan)],
)
def test_the_standard_error_is_unbiased_and_unknown_for_fewer_than_two(values: list[float], error: float) -> None:
    assert standard_error(values) == pytest.approx(error, nan_ok=True)
