import math

import pytest

from tensor_optix.core.eval_metrics import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError

ERROR = {"score_std_err": 0.5}


@pytest.mark.parametrize(
    ("metrics", "utility", "error"),
    [
        (EvalMetrics(2.0, ERROR), 2.0, 0.5),
        (EvalMetrics(2.0, ERROR, lower_is_better=True), -2.0, 0.5),
        (EvalMetrics(2.0, ERROR, grade=3.5), 3.5, math.nan),
        (EvalMetrics(2.0), 2.0, math.nan),
    ],
)
def test_decisions_are_made_on_a_number_of_which_the_higher_is_better(
    metrics: EvalMetrics, utility: float, error: float
) -> None:
    assert metrics.utility == utility
    assert metrics.utility_std_err == pytest.approx(error, nan_ok=True)


@pytest.mark.parametrize(
    "metrics", [EvalMetrics(2.0, ERROR, 7), EvalMetrics(2.0, lower_is_better=True), EvalMetrics(2.0, grade=0.0)]
)
def test_it_is_rebuilt_from_its_plain_values(metrics: EvalMetrics) -> None:
    assert EvalMetrics.from_dict(metrics.to_dict()) == metrics


def test_what_is_usual_is_not_written() -> None:
    assert EvalMetrics(2.0).to_dict() == {"primary_score": 2.0, "metrics": {}, "episode_id": 0, "has_evidence": True}


def test_what_it_did_not_write_is_named() -> None:
    with pytest.raises(CheckpointCorruptError, match="grade"):
        EvalMetrics.from_dict({**EvalMetrics(2.0).to_dict(), "grade": "best"})
