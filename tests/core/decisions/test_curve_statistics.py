import math

import numpy as np
import pytest

from tensor_optix.core.decisions.curve_statistics import levels, slope_bound, statistics_of
from tensor_optix.core.decisions.score_curve import ScoreCurve

WINDOW = 2_048


def curve_of(scores, std_err=math.nan, *, window=WINDOW, episodes_per_window=None):
    curve = ScoreCurve()
    for i, score in enumerate(scores, start=1):
        episodes = None if episodes_per_window is None else i * episodes_per_window
        curve = curve.added(i * window, float(score), std_err, episodes)
    return curve


def saturating(n, end, rise=100.0):
    """`rise` reached linearly at evaluation `end`."""
    return rise * np.minimum(np.arange(n) / end, 1.0)


class TestLevels:
    def test_without_noise_the_level_of_a_plateau_is_its_score(self):
        assert levels(curve_of([5.0] * 40, 0.0).bins())[-1] == pytest.approx(5.0)

    def test_one_lucky_score_does_not_raise_it(self):
        scores = np.random.default_rng(0).normal(0.0, 1.0, 200)
        lucky = scores.copy()
        lucky[100] = 4.0
        assert np.max(levels(curve_of(lucky, 1.0).bins())) < 0.7

    def test_a_slow_rise_below_the_noise_shows(self):
        noise = np.random.default_rng(0).normal(0.0, 1.0, 1_000)
        level = np.maximum.accumulate(levels(curve_of(noise + np.linspace(0.0, 2.0, 1_000), 1.0).bins()))
        assert level[-1] > level[len(level) // 2] + 0.5

    def test_a_steep_rise_of_few_scores_is_no_noise(self):
        rising = [0.0, 550.0, 2_300.0, 3_100.0, 3_400.0, 3_900.0, 4_250.0, 4_600.0, 4_700.0, 4_900.0, 5_250.0, 5_550.0]
        assert levels(curve_of(rising, 30.0).bins())[-1] > 5_100.0
        up_and_down = [4_700.0 + 300.0 * (-1) ** i for i in range(12)]
        assert levels(curve_of(up_and_down, 30.0).bins())[-1] < 4_400.0

    def test_is_below_the_truth_with_noise(self):
        below = 0
        for seed in range(100):
            scores = np.random.default_rng(seed).normal(0.0, 1.0, 300)
            below += levels(curve_of(scores, 1.0).bins())[-1] < 0.0
        assert below >= 95


class TestSlopeBound:
    def test_is_the_slope_of_a_line_in_the_logarithm_of_the_steps(self):
        curve = curve_of(3.0 * np.log(np.arange(1, 101)), 0.0)
        assert slope_bound(curve.bins()) == pytest.approx(3.0)

    def test_is_infinite_for_a_handful_of_scores(self):
        assert slope_bound(curve_of(range(5)).bins()) == math.inf

    def test_grows_with_the_noise(self):
        rng = np.random.default_rng(0)
        quiet, noisy = (curve_of(rng.normal(0.0, s, 200), s) for s in (0.1, 1.0))
        assert slope_bound(noisy.bins()) > slope_bound(quiet.bins()) > 0.0

    def test_of_a_constant_score_is_zero(self):
        assert slope_bound(curve_of([7.0] * 100, 0.0).bins()) == pytest.approx(0.0, abs=1e-12)


class TestStatistics:
    def test_finds_the_step_of_the_rise(self):
        stats = statistics_of(curve_of(saturating(200, 100), 0.1))
        assert stats.gain == pytest.approx(99.0, abs=1.5)
        assert 88 <= stats.arrival_steps / WINDOW <= stats.rise_steps / WINDOW <= 100
        assert stats.quiet_evaluations == 200 - stats.arrival_steps / WINDOW

    @pytest.mark.parametrize("n_before", [1, 7, 40])
    def test_a_rise_at_once_is_dated_where_it_was_though_its_level_is_certain_later(self, n_before):
        scores = [*np.linspace(90.0, 110.0, n_before), *[500.0] * 30]
        stats = statistics_of(curve_of(scores, 5.0))
        assert stats.quiet_evaluations in (29, 30)
        assert stats.arrival_steps == (len(scores) - stats.quiet_evaluations) * WINDOW <= stats.rise_steps
        assert stats.level == pytest.approx(500.0, abs=15.0)
        assert stats.level_error == pytest.approx(5.0 / math.sqrt(30), rel=0.3)

    def test_a_target_is_reached_since_the_scores_average_at_it_within_their_error(self):
        def arrival(scores, target, std_err=0.0):
            stats = statistics_of(curve_of(scores, std_err), target=target)
            return stats.target_steps, stats.target_evaluations

        risen = [0.0, 50.0, *[100.0] * 10]
        assert arrival(risen, 100.0) == (3 * WINDOW, 9)
        assert arrival(risen, 95.0) == (2 * WINDOW, 10)  # their mean from there on is 95.5
        assert arrival(risen, 101.0) == (None, 0)
        assert arrival(risen, 101.0, 4.0) == (3 * WINDOW, 9)
        assert arrival([*risen, 0.0, 0.0, 0.0], 100.0) == (None, 0)
        assert arrival(risen, None) == (None, 0)
        assert arrival([0.0, 0.0, 100.0, 100.0], 100.0) == (None, 0)  # two scores are too few

    @pytest.mark.parametrize("offset", [-1e6, 0.0, 1e6])
    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_the_unit_and_the_zero_of_the_score_do_not_matter(self, offset, scale):
        scores = saturating(200, 100) + np.random.default_rng(0).normal(0.0, 1.0, 200)
        plain = statistics_of(curve_of(scores, 0.5))
        other = statistics_of(curve_of(offset + scale * scores, 0.5 * scale))
        assert other.rise_steps == plain.rise_steps
        assert other.gain == pytest.approx(scale * plain.gain, rel=1e-4)
        assert other.deviation == pytest.approx(scale * plain.deviation)

    def test_the_unit_of_time_does_not_matter(self):
        scores = saturating(200, 100)
        short, long = (statistics_of(curve_of(scores, 0.1, window=w)) for w in (10, 10_000))
        assert long.rise_steps == 1_000 * short.rise_steps

    def test_a_flat_or_falling_curve_has_no_gain(self):
        for scores in (np.zeros(100), np.concatenate([np.zeros(3), -np.arange(100.0)])):
            stats = statistics_of(curve_of(scores, 0.1))
            assert stats.gain == 0.0
            assert stats.rise_steps == WINDOW

    def test_the_deviation_is_that_of_one_return(self):
        curve = curve_of(np.zeros(50), 2.0)
        assert statistics_of(curve, 9).deviation == pytest.approx(6.0)
        assert statistics_of(curve, 9).first_deviation == pytest.approx(6.0)

    def test_without_known_errors_the_noise_is_that_of_successive_scores(self):
        scores = np.random.default_rng(0).normal(0.0, 2.0, 240)
        assert statistics_of(curve_of(scores), 1).deviation == pytest.approx(2.0, rel=0.35)

    def test_that_of_the_best_level_is_the_deviation_where_it_was_reached(self):
        quiet, noisy = statistics_of(curve_of([0.0] * 100, 0.0), 1), [0.0, 1.0] * 4
        assert (quiet.deviation, quiet.best_deviation) == (0.0, 0.0)
        lucky = statistics_of(curve_of([*[0.0] * 50, *[1.0, 1.0, 0.0], *[0.0] * 50]), 1)
        assert (lucky.deviation, lucky.gain > 0.0, lucky.best_deviation > 0.2) == (0.0, True, True)
        rising = statistics_of(curve_of([*np.arange(50.0), *(50.0 + np.array(noisy * 5))]), 1)
        assert rising.best_deviation == pytest.approx(rising.deviation, rel=0.2)
