"""False alarms and detections are counted on simulated scores; the rest are tables."""

import json
import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.decisions.drift import DriftDetector, KnowsItsLevel, PageHinkley
from tensor_optix.errors import InvalidArgumentError

Draw = Callable[[np.random.Generator, int], np.ndarray]
SCORES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "tails of a market": lambda rng, n: rng.standard_t(3, n),
    "no mean at all": lambda rng, n: rng.standard_cauchy(n),
    "skewed": lambda rng, n: -rng.lognormal(size=n),
    "won or lost": lambda rng, n: (rng.random(n) < 0.9).astype(float),
}


def alarms(detector: PageHinkley, scores: np.ndarray) -> int:
    """Count alarms; each is followed by a new beginning, as in the loop."""
    count = 0
    for score in scores:
        if detector.update(float(score)):
            count += 1
            detector.reset()
    return count


def delay(scores: np.ndarray, begins: int, **options: Any) -> float:
    """Windows from the change until it is seen; infinite for never."""
    detector = PageHinkley(**options)
    for n, score in enumerate(scores):
        if detector.update(float(score)) and n >= begins:
            return n - begins + 1
    return math.inf


@pytest.mark.parametrize("name", SCORES)
def test_false_alarms_keep_to_their_rate_whatever_the_tails(name: str) -> None:
    n = 40_000
    found = alarms(PageHinkley(0.002, correlation=0.0), SCORES[name](np.random.default_rng(1), n))
    assert found <= 1.25 * 0.002 * n
    if name != "won or lost":  # where most scores are equal, falls are mostly none
        assert found >= 0.5 * 0.002 * n  # a detector that never says anything keeps to every rate


def correlated(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """Scores of which each depends on the one before."""
    noise = rng.normal(size=n)
    scores = noise[:1]
    for e in noise[1:]:
        scores = np.append(scores, rho * scores[-1] + math.sqrt(1 - rho**2) * e)
    return scores


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.2])
def test_by_default_at_most_one_window_in_a_thousand_is_a_false_alarm(rho: float) -> None:
    rng = np.random.default_rng(7)
    runs = [correlated(rng, 1000, rho) for _ in range(40)]
    assert sum(alarms(PageHinkley(), run) for run in runs) <= 40


def test_who_says_how_much_scores_depend_on_each_other_is_not_woken_more_often() -> None:
    rng = np.random.default_rng(8)
    runs = [correlated(rng, 500, 0.5) for _ in range(20)]
    deaf, keen = (sum(alarms(PageHinkley(0.002, correlation=c), run) for run in runs) for c in (0.5, 0.0))
    assert deaf <= 20 < 40 < keen


@pytest.mark.parametrize(
    ("calm", "fall", "share"), [(30, 3.0, 0.95), (60, 2.0, 0.9), (200, 1.5, 0.75), (200, 2.0, 0.97)]
)
def test_a_fall_is_seen_within_ten_windows(calm: int, fall: float, share: float) -> None:
    rng = np.random.default_rng(2)
    delays = [
        delay(np.concatenate([rng.normal(size=calm), rng.normal(-fall, 1.0, 10)]), begins=calm) for _ in range(200)
    ]
    assert sum(d <= 10 for d in delays) >= share * len(delays)


def first_alarm(detector: PageHinkley, scores: np.ndarray) -> float:
    """Windows until the first alarm; infinite for never."""
    return next((n for n, score in enumerate(scores, 1) if detector.update(float(score))), math.inf)


@pytest.mark.parametrize("calm", [1, 2, 5, 10, 12])
@pytest.mark.parametrize("noise", [0.0, 5.0, 20.0])
def test_a_collapse_is_seen_from_the_first_window_on(calm: int, noise: float) -> None:
    rng = np.random.default_rng(9)
    for _ in range(50):
        scores = np.concatenate([rng.normal(450, noise, calm), rng.normal(10, noise, 10)])
        assert calm < first_alarm(PageHinkley(), scores) <= calm + 10


@pytest.mark.parametrize("calm", [0, 1, 2, 5, 10])
def test_a_fall_is_seen_from_the_first_window_on_where_it_is_known_what_is_usual(calm: int) -> None:
    rng, in_time = np.random.default_rng(10), 0
    for _ in range(100):
        detector = PageHinkley()
        detector.expect(rng.normal(size=40).tolist())
        scores = np.concatenate([rng.normal(size=calm), rng.normal(-3.0, 1.0, 10)])
        in_time += calm < first_alarm(detector, scores) < math.inf
    assert in_time >= 95


@pytest.mark.parametrize(("known", "fall", "share"), [(6, 5.0, 0.97), (12, 4.0, 0.97), (18, 3.0, 0.95)])
@pytest.mark.parametrize("calm", [1, 2, 5, 10])
def test_a_fall_is_seen_though_little_is_known_of_what_is_usual(
    calm: int, known: int, fall: float, share: float
) -> None:
    rng, in_time = np.random.default_rng(12), 0
    for _ in range(200):
        detector = PageHinkley()
        detector.expect(rng.normal(size=known).tolist())
        scores = np.concatenate([rng.normal(size=calm), rng.normal(-fall, 1.0, 10)])
        in_time += calm < first_alarm(detector, scores) < math.inf
    assert in_time >= share * 200


@pytest.mark.parametrize("known", [0, 6, 12])
@pytest.mark.parametrize("name", SCORES)
def test_and_a_calm_watch_of_which_little_is_known_is_rarely_woken(name: str, known: int) -> None:
    rng, found = np.random.default_rng(13), 0
    for _ in range(150):
        detector = PageHinkley()
        detector.expect(SCORES[name](rng, known).tolist())
        found += first_alarm(detector, SCORES[name](rng, 60)) < math.inf
    assert found <= 9  # of 9,000 windows


def test_equal_scores_have_no_variance_that_tells_chance_from_a_fall() -> None:
    detector = PageHinkley()
    assert first_alarm(detector, np.array([1.0] * 4 + [0.8] * 5)) == math.inf


def test_the_more_is_known_the_less_far_a_run_has_to_fall() -> None:
    run = np.array([-0.6, -0.3, -1.0, -0.5, -0.6, -0.4, -0.7, -0.5])
    few, more = PageHinkley(), PageHinkley()
    few.expect([0.2, 0.3])
    more.expect([0.2, 0.3, 0.4, 0.2, 0.6, 0.3, 0.4, 0.3])
    assert first_alarm(few, run) == math.inf
    assert first_alarm(more, run) == 4


@pytest.mark.parametrize("too_high", [0.0, 0.5])
def test_what_is_expected_may_be_a_little_too_high(too_high: float) -> None:
    rng, woken = np.random.default_rng(11), 0
    for _ in range(200):
        detector = PageHinkley()
        detector.expect(rng.normal(too_high, 1.0, 20).tolist())
        woken += first_alarm(detector, rng.normal(size=60)) < math.inf
    assert woken <= 8


def test_what_is_expected_is_forgotten_where_the_watch_speaks_for_itself() -> None:
    detector = PageHinkley()
    detector.expect([1.0] * 3)  # too few to say anything but what is held
    levels = [0.9 if n % 3 else 1.0 for n in range(24)]
    assert first_alarm(detector, np.array(levels)) == math.inf
    assert len(detector.state_dict()["calm"]) + len(detector.state_dict()["run"]) == 27
    detector.update(1.0)
    assert sorted(detector.state_dict()["calm"]) == sorted([*levels, 1.0])
    detector.reset()
    assert detector.state_dict() == PageHinkley().state_dict()


def test_a_run_in_progress_stays_out_of_the_calm_scores_when_what_was_expected_is_forgotten() -> None:
    detector = PageHinkley(false_alarm_rate=1e-6)
    detector.expect([1.0] * 6)
    assert first_alarm(detector, np.array([1.0] * 23 + [0.5] * 2)) == math.inf
    assert detector.state_dict()["calm"] == [1.0] * 23
    assert detector.state_dict()["run"] == [0.5] * 2


def test_nothing_expected_is_a_new_beginning() -> None:
    detector = PageHinkley()
    detector.update(1.0)
    detector.expect([])
    assert detector.state_dict() == PageHinkley().state_dict()
    assert isinstance(detector, KnowsItsLevel)


def test_fallen_scores_do_not_join_the_calm_ones_until_it_was_chance() -> None:
    detector = PageHinkley()
    for score in [10.0] * 5 + [1.0, 2.0]:
        assert not detector.update(score)
    assert detector.state_dict()["calm"] == [10.0] * 5
    detector.update(10.0)
    assert detector.state_dict()["calm"] == [1.0, 2.0] + [10.0] * 6
    assert detector.state_dict()["run"] == []


def test_rounding_is_no_fall() -> None:
    detector = PageHinkley(degradation_threshold=1.0)
    assert first_alarm(detector, np.array([0.1] * 30 + [0.1 - 1e-16] * 60)) == math.inf


def test_a_state_saved_before_there_were_runs_is_read() -> None:
    detector = PageHinkley()
    detector.load_state_dict({"calm": [1.0, 2.0], "fall": 0.5})
    assert detector.state_dict() == {
        "ranked": [1.0, 2.0], "calm": [1.0, 2.0], "run": [], "fall": 0.5, "expects": False,
    }  # fmt: skip


def test_a_slow_fall_is_seen_too() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=2000) - np.concatenate([np.zeros(300), np.linspace(0.0, 3.0, 1700)])
    assert delay(scores, begins=300) < 1000


def test_a_rise_is_no_drift_and_the_way_back_to_what_was_calm_neither() -> None:
    rng = np.random.default_rng(4)
    scores = np.concatenate([rng.normal(size=300), rng.normal(5.0, 1.0, 100), rng.normal(size=100)])
    assert alarms(PageHinkley(0.0001), scores) == 0


@pytest.mark.parametrize(
    ("then", "options", "is_drift"),
    [
        (10.0, {}, False),
        (9.6, {}, False),  # 95 % are held
        (9.4, {}, True),
        (9.4, {"min_degradation_drop": 1.0}, False),
        (8.9, {"min_degradation_drop": 1.0}, True),
        (9.6, {"degradation_threshold": 1.0}, True),
        (10.1, {"degradation_threshold": 1.0}, False),
    ],
)
def test_where_scores_are_all_alike_a_fall_is_what_is_lost_beyond_the_tolerance(
    then: float, options: dict[str, float], is_drift: bool
) -> None:
    assert math.isfinite(delay(np.array([10.0] * 20 + [then] * 10), begins=20, **options)) is is_drift


def test_negative_scores_fall_like_others() -> None:
    assert delay(np.array([-10.0] * 20 + [-10.4] * 10), begins=20) == math.inf
    assert delay(np.array([-10.0] * 20 + [-11.0] * 10), begins=20) <= 10


def test_one_wild_score_is_not_drift() -> None:
    rng = np.random.default_rng(5)
    detector = PageHinkley()
    for score in rng.normal(size=100):
        detector.update(float(score))
    assert not detector.update(-1e300)


@pytest.mark.parametrize(("rate", "k", "rho"), [(0.001, 0.5, 0.0), (0.01, 0.5, 0.2), (0.001, 1.0, 0.6)])
def test_the_threshold_solves_the_formula(rate: float, k: float, rho: float) -> None:
    variance = (1 + rho) / (1 - rho)
    b = PageHinkley(rate, min_shift=2 * k, correlation=rho).threshold + 1.166 * math.sqrt(variance)
    x = 2 * k * b / variance
    assert (math.exp(x) - x - 1) * variance / (2 * k * k) == pytest.approx(1 / rate)


def test_the_mean_time_to_a_false_alarm_is_the_wanted_one() -> None:
    rng, times = np.random.default_rng(6), []
    for _ in range(60):
        detector, n = PageHinkley(0.01, correlation=0.0), 1
        while not detector.update(float(rng.normal())):
            n += 1
        times.append(n)
    assert 65 <= statistics.mean(times) <= 160


scores = st.lists(st.floats(-1e9, 1e9), max_size=60)


@given(scores, scores, scores, st.sampled_from([0.1, 0.001]))
def test_what_is_saved_goes_on_as_if_it_had_never_stopped(
    expected: list[float], before: list[float], after: list[float], rate: float
) -> None:
    first, second = PageHinkley(rate), PageHinkley(rate)
    first.expect(expected)
    for score in before:
        first.update(score)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [first.update(score) for score in after] == [second.update(score) for score in after]
    assert first.state_dict() == second.state_dict()


@given(scores, st.floats(0.01, 100.0), st.integers(0, 5))
def test_units_do_not_matter_where_nothing_is_tolerated(values: list[float], factor: float, tens: int) -> None:
    whole = [float(round(value)) for value in values]
    first, second = (PageHinkley(0.1, degradation_threshold=1.0) for _ in range(2))
    scale = 2.0 ** round(math.log2(factor))
    assert [first.update(v) for v in whole] == [second.update(v * scale) for v in whole]


def test_its_memory_is_bounded_and_reset_forgets() -> None:
    detector = PageHinkley()
    for n in range(1000):
        detector.update(float(n % 7))
    assert len(detector.state_dict()["calm"]) == len(detector.state_dict()["ranked"]) == 250
    for n in range(1000):
        detector.update(-1e6 - n)
    assert len(detector.state_dict()["run"]) == 250
    detector.reset()
    assert detector.state_dict() == PageHinkley().state_dict()
    assert isinstance(detector, DriftDetector)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"false_alarm_rate": 0.0}, "false_alarm_rate must be in"),
        ({"false_alarm_rate": 0.5}, "false_alarm_rate must be in"),
        ({"false_alarm_rate": math.nan}, "false_alarm_rate must be in"),
        ({"min_shift": 0.0}, "min_shift must be positive"),
        ({"min_shift": math.inf}, "min_shift must be positive"),
        ({"degradation_threshold": 1.1}, "degradation_threshold must be in"),
        ({"min_degradation_drop": -1.0}, "min_degradation_drop must not be negative"),
        ({"correlation": 1.0}, "correlation must be in"),
        ({"correlation": -0.1}, "correlation must be in"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        PageHinkley(**options)
