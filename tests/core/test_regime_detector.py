import math

import numpy as np
import pytest

from tensor_optix.core.regime_detector import RegimeDetector
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import InvalidArgumentError


def history(*scores: float) -> list[EvalMetrics]:
    return [EvalMetrics(score, {}, i, has_evidence=math.isfinite(score)) for i, score in enumerate(scores)]


CLIMB = [10.0, 11.0, 12.0, 13.0, 14.0]


@pytest.mark.parametrize(
    ("scores", "regime"),
    [
        ([], "ranging"),
        ([1.0, 9.0], "ranging"),  # too few to say
        ([5.0] * 6, "ranging"),
        ([0.0] * 6, "ranging"),
        (CLIMB, "trending"),  # slope 1 on a mean of 12: 8 % per evaluation, nothing left around the line
        (CLIMB[::-1], "trending down"),  # as steady, and no trend to be glad of
        ([-score for score in CLIMB], "trending down"),
        ([100.0, 101.0, 102.0, 103.0], "ranging"),  # 1 % per evaluation
        ([1.0, 2.0, 1.0, 2.0, 1.0, 2.0], "volatile"),
        ([10.0, 10.5, 9.9, 10.2, 10.1], "ranging"),
        ([*CLIMB, math.nan], "trending"),  # no evidence changes nothing
    ],
)
def test_the_regime(scores: list[float], regime: str) -> None:
    assert RegimeDetector().detect(history(*scores)) == regime


def test_a_steep_climb_is_not_volatile() -> None:
    scores = [1.0, 100.0, 200.0, 300.0]
    assert np.std(scores) / np.mean(scores) > 0.15
    assert RegimeDetector().detect(history(*scores)) == "trending"


def test_only_the_newest_count() -> None:
    detector = RegimeDetector(window=5)
    assert detector.detect(history(*CLIMB, *[14.0] * 5)) == "ranging"
    assert RegimeDetector(window=10).detect(history(*CLIMB, *[14.0] * 5)) != "volatile"


def test_the_thresholds_are_the_knobs() -> None:
    wavy = history(1.0, 2.0, 1.0, 2.0, 1.0, 2.0)
    assert RegimeDetector(volatility_threshold=1.0).detect(wavy) == "trending"  # slope 0.086 on 1.5
    assert RegimeDetector(volatility_threshold=1.0, trend_threshold=0.2).detect(wavy) == "ranging"


def test_numbers_of_numpy_and_infinity_are_numbers() -> None:
    detector = RegimeDetector(np.float32(0.15), math.inf, np.int64(5))  # type: ignore[arg-type]
    assert detector.detect(history(*CLIMB)) == "ranging"


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"volatility_threshold": -0.1}, "volatility_threshold must be a number of at least 0, but got -0.1"),
        ({"volatility_threshold": "a"}, "volatility_threshold must be a number of at least 0, but got 'a'"),
        ({"trend_threshold": math.nan}, "trend_threshold must be a number of at least 0"),
        ({"trend_threshold": None}, "trend_threshold must be a number of at least 0"),
        ({"trend_threshold": True}, "trend_threshold must be a number of at least 0"),
        ({"window": 2}, "window must be a whole number of at least 3"),
        ({"window": 5.0}, "window must be a whole number of at least 3"),
        ({"window": None}, "window must be a whole number of at least 3"),
    ],
)
def test_bad_knobs_are_refused(knobs: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        RegimeDetector(**knobs)


def test_losses_that_fall_are_a_rise() -> None:
    losses = [EvalMetrics(score, lower_is_better=True) for score in CLIMB[::-1]]
    assert RegimeDetector().detect(losses) == "trending"
