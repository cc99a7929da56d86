import math

import numpy as np
import pytest

from tensor_optix.core.meta_controller import MetaAction, MetaController, relative_gaps
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import InvalidArgumentError

STOP, SPAWN, PRUNE, NO_OP = MetaAction.STOP, MetaAction.SPAWN, MetaAction.PRUNE, MetaAction.NO_OP
LEFT, SPENT = {"budget_exhausted": False}, {"budget_exhausted": True}


def history(vals: list[float], trains: list[float] | None = None) -> list[EvalMetrics]:
    gaps = (
        [{}] * len(vals)
        if trains is None
        else [{"generalization_gap": t - v} for t, v in zip(trains, vals, strict=True)]
    )
    return [EvalMetrics(val, gap, i) for i, (val, gap) in enumerate(zip(vals, gaps, strict=True))]


FLAT = [10.0] * 5
CLIMB = [10.0, 11.0, 12.0, 13.0, 14.0]


@pytest.mark.parametrize(
    ("vals", "trains", "status", "action"),
    [
        (FLAT, None, SPENT, STOP),
        (CLIMB, [99.0] * 5, SPENT, STOP),  # a budget that is spent comes before anything else
        ([], None, SPENT, STOP),
        ([], None, LEFT, NO_OP),
        ([10.0, 10.0], None, LEFT, NO_OP),  # below three points
        (FLAT, [13.0] * 5, LEFT, PRUNE),  # gap 0.3
        (FLAT, [11.0] * 5, LEFT, SPAWN),  # gap 0.1, and a plateau
        (FLAT, [10.0, 10.5, 11.0, 11.5, 12.0], LEFT, PRUNE),  # gap 0.1 on average, growing by 0.05
        (CLIMB, CLIMB, LEFT, NO_OP),  # 8 % per evaluation: still learning
        (FLAT, FLAT, LEFT, SPAWN),
        (CLIMB[::-1], None, LEFT, SPAWN),
        # negative scores: the gap is a share of their size
        ([-10.0] * 5, [-7.0] * 5, LEFT, PRUNE),
        ([-10.0] * 5, [-9.0] * 5, LEFT, SPAWN),
        ([-14.0, -13.0, -12.0, -11.0, -10.0], None, LEFT, NO_OP),
        (FLAT, None, {}, SPAWN),  # a status that says nothing of the budget has some left
    ],
)
def test_the_first_rule_that_applies_decides(
    vals: list[float], trains: list[float] | None, status: dict, action: MetaAction
) -> None:
    assert MetaController().decide(history(vals, trains), status) is action


def test_what_is_no_evidence_is_left_out() -> None:
    noisy = [*history(FLAT), EvalMetrics(math.nan, has_evidence=False)]
    assert MetaController().decide(noisy, LEFT) is SPAWN
    assert MetaController().decide(noisy[-3:], LEFT) is NO_OP


def test_only_the_newest_count() -> None:
    evaluations = history(FLAT + FLAT, [99.0] * 5 + FLAT)
    assert MetaController(window=5).decide(evaluations, LEFT) is SPAWN
    assert MetaController(window=10).decide(evaluations, LEFT) is PRUNE


def test_the_thresholds_are_the_knobs() -> None:
    gap = history(FLAT, [13.0] * 5)
    assert MetaController(gap_threshold=0.4).decide(gap, LEFT) is SPAWN
    growing = history(FLAT, [10.0, 10.5, 11.0, 11.5, 12.0])
    assert MetaController(gap_slope_threshold=0.1).decide(growing, LEFT) is SPAWN
    assert MetaController(improvement_threshold=0.5).decide(history(CLIMB), LEFT) is SPAWN


def test_gaps_by_hand() -> None:
    np.testing.assert_allclose(relative_gaps(history([10.0, -4.0], [12.0, -3.0])), [0.2, 0.25])
    np.testing.assert_array_equal(relative_gaps(history([10.0, -4.0])), [0.0, 0.0])


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"gap_threshold": math.nan}, "gap_threshold must be a number, but got nan"),
        ({"gap_threshold": "a"}, "gap_threshold must be a number, but got 'a'"),
        ({"gap_slope_threshold": None}, "gap_slope_threshold must be a number"),
        ({"improvement_threshold": True}, "improvement_threshold must be a number"),
        ({"window": 1}, "at least 3"),
        ({"window": "a"}, "window must be a whole number of at least 3, but got 'a'"),
    ],
)
def test_bad_knobs_are_refused(knobs: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        MetaController(**knobs)
