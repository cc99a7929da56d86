import json
import math

import numpy as np
import pytest

from tensor_optix.core.decisions.score_curve import MAX_BINS, ScoreCurve
from tensor_optix.core.loop.run_state import saved_form
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError
from tensor_optix.support.schemas import rebuilt

WINDOW = 2_048


def curve_of(scores, std_err=math.nan, *, window=WINDOW, episodes_per_window=None):
    curve = ScoreCurve()
    for i, score in enumerate(scores, start=1):
        episodes = None if episodes_per_window is None else i * episodes_per_window
        curve = curve.added(i * window, float(score), std_err, episodes)
    return curve


class TestScoreCurve:
    def test_keeps_every_evaluation_until_it_is_full(self):
        curve = curve_of(range(MAX_BINS))
        assert curve.bins().scores.tolist() == list(range(MAX_BINS))
        assert curve.bins().counts.tolist() == [1] * MAX_BINS

    def test_merges_neighbours_when_it_is_full(self):
        bins = curve_of(range(MAX_BINS + 1)).bins()
        assert bins.scores[:3].tolist() == [0.5, 2.5, 4.5]
        assert bins.steps[0] == 2 * WINDOW
        assert bins.counts.tolist() == [2] * (MAX_BINS // 2) + [1]

    @pytest.mark.parametrize("n", [1, 255, 256, 257, 1_000, 5_000])
    def test_no_evaluation_is_lost_and_memory_is_bounded(self, n):
        scores = np.random.default_rng(n).normal(size=n)
        curve = curve_of(scores, 0.5)
        bins = curve.bins()
        assert len(bins.scores) <= MAX_BINS
        assert bins.counts.sum() == curve.evaluations == n
        assert np.average(bins.scores, weights=bins.counts) == pytest.approx(scores.mean())
        assert bins.variances == pytest.approx(0.25)
        assert bins.steps[-1] == n * WINDOW

    def test_size_of_the_state_does_not_grow(self):
        size = len(json.dumps(saved_form(curve_of(np.full(20_000, 1.5)))))
        assert size < 20_000

    def test_goes_on_as_if_it_had_not_been_saved(self):
        scores = np.random.default_rng(0).normal(size=700)
        whole = curve_of(scores, 0.5, episodes_per_window=3)
        half = curve_of(scores[:333], 0.5, episodes_per_window=3)
        resumed = rebuilt(ScoreCurve, json.loads(json.dumps(saved_form(half))))
        for i, score in enumerate(scores[333:], start=334):
            resumed = resumed.added(i * WINDOW, float(score), 0.5, i * 3)
        assert resumed == whole

    @pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
    def test_a_score_that_is_not_finite_is_left_out(self, score):
        curve = curve_of([1.0, 2.0])
        curve = curve.added(3 * WINDOW, score)
        assert curve == curve_of([1.0, 2.0])

    def test_an_evaluation_without_new_steps_is_left_out(self):
        curve = curve_of([1.0, 2.0])
        curve = curve.added(2 * WINDOW, 50.0)
        assert curve.evaluations == 2

    def test_steps_must_not_go_back(self):
        with pytest.raises(InvalidArgumentError, match="steps must not go back"):
            curve_of([1.0, 2.0]).added(WINDOW, 3.0)

    def test_error_is_unknown_where_none_was_given(self):
        curve = curve_of([1.0, 2.0])
        curve = curve.added(3 * WINDOW, 1.0, 0.5)
        assert np.isnan(curve.bins().variances).tolist() == [True, True, False]

    def test_deviation_at_the_start(self):
        assert curve_of([1.0] * 20, 0.5).first_deviation() == pytest.approx(0.5)
        assert curve_of([1.0, 3.0, 1.0, 3.0]).first_deviation() == pytest.approx(math.sqrt(2.0))
        assert curve_of([1.0]).first_deviation() == 0.0
        assert math.isnan(ScoreCurve().first_level(3))

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ({"packed": [[1.0, 2.0]]}, "do not add up"),
            ({"packed": [[7.0, 2.0, 1.0, 0.0, 0.0]]}, "do not add up"),
            ({"packed": None}, "packed"),
            ({"steps": "many"}, "steps"),
            ({"first_scores": ["1"]}, "first_scores"),
            ({"unknown": 1}, "unknown"),
        ],
    )
    def test_a_damaged_state_is_refused(self, damage, message):
        with pytest.raises(CheckpointCorruptError, match=message):
            rebuilt(ScoreCurve, {**saved_form(curve_of([1.0, 2.0])), **damage})

    def test_adding_leaves_the_curve_as_it_was(self):
        curve = curve_of([1.0, 2.0])
        before = saved_form(curve)
        curve.added(3 * WINDOW, 5.0)
        assert saved_form(curve) == before
