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


@pytest.mark.parametrize(
    ("vals", "trains", "action"),
    [
        ([-1.0, 0.0, 1.0, 0.5, 0.5], [-0.95, 0.05, 1.05, 0.55, 0.55], NO_OP),  # climbs through 0
        ([1.0, 1.0, 0.0, 1.0, 1.0], [1.1, 1.1, 0.1, 1.1, 1.1], SPAWN),  # one 0 by chance
        ([0.0] * 5, [0.0] * 5, SPAWN),
        ([0.0] * 5, [1.0] * 5, PRUNE),  # it learns by heart
    ],
)
def test_a_validation_score_of_0_is_no_infinite_gap(vals: list[float], trains: list[float], action: MetaAction) -> None:
    assert MetaController().decide(history(vals, trains), LEFT) is action


def test_a_gap_beside_a_score_of_0_is_measured_by_half_the_size_of_the_others() -> None:
    np.testing.assert_allclose(relative_gaps(history([3.0, 0.0, 3.0], [3.3, 0.5, 3.3])), [0.1, 0.5, 0.1])


def test_losses_are_decided_on_as_their_negatives_are() -> None:
    vals, trains = [-14.0, -13.0, -12.0, -11.0, -10.0], [-7.0] * 5
    losses = [
        EvalMetrics(-val, {"generalization_gap": val - train}, lower_is_better=True)
        for val, train in zip(vals, trains, strict=True)
    ]
    np.testing.assert_array_equal(relative_gaps(losses), relative_gaps(history(vals, trains)))
    assert MetaController().decide(losses, LEFT) is MetaController().decide(history(vals, trains), LEFT) is PRUNE
