"""Which kind of weather the scores are in: climbing, falling, idling or swinging. A pure function of their history."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from tensor_optix.core.decisions.trend import MIN_POINTS, recent_scores, slope
from tensor_optix.core.types import EvalMetrics
from tensor_optix.support.arguments import check_count, check_threshold

Regime: TypeAlias = Literal["trending", "trending down", "ranging", "volatile"]

_EPSILON = 1e-8


class RegimeDetector:
    """Classifies the recent scores.

        residuals    = scores − linear_regression(scores)
        CV_detrended = std(residuals)/(|mean(scores)| + ε)   above volatility_threshold: "volatile"
        |slope|/(|mean(scores)| + ε)                         above trend_threshold:      "trending", or "trending down"
                                                                                         where they get worse
        otherwise, and with fewer than 3 scores:                                         "ranging"

    The trend is taken out first, so that a score which climbs steadily is not called volatile.

    Args:
        volatility_threshold: spread around the trend, as a share of the mean.
        trend_threshold: slope per evaluation, as a share of the mean.
        window: how many of the newest scores are looked at; at least 3.

    Raises:
        InvalidArgumentError: a threshold that is negative, or a window below 3.
    """

    def __init__(self, volatility_threshold: float = 0.15, trend_threshold: float = 0.05, window: int = 10) -> None:
        for name, value in (("volatility_threshold", volatility_threshold), ("trend_threshold", trend_threshold)):
            check_threshold(name, value, 0.0)
        check_count("window", window, MIN_POINTS)
        self._volatility_threshold = volatility_threshold
        self._trend_threshold = trend_threshold
        self._window = window

    def detect(self, history: Sequence[EvalMetrics]) -> Regime:
        """Return the regime of the newest scores; those that are no evidence are left out.

        Args:
            history: evaluations in the order of time.
        """
        scores = recent_scores(history, self._window)
        if len(scores) < MIN_POINTS:
            return "ranging"
        rise = slope(scores)
        times = np.arange(scores.size) - (scores.size - 1) / 2
        scale = abs(float(scores.mean())) + _EPSILON
        if float(np.std(scores - rise * times)) / scale > self._volatility_threshold:
            return "volatile"
        if abs(rise) / scale <= self._trend_threshold:
            return "ranging"
        return "trending" if rise > 0.0 else "trending down"
