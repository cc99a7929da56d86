"""Which snapshot comes first: episodes that are known rank by a lower bound, plain scores as they are."""

import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.decisions.ranking import lower_bound, ranked, rests_on_returns
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot


def snapshot(
    sequence: int, returns: list[float] | None = None, score: float | None = None, **fields: Any
) -> PolicySnapshot:
    played = () if returns is None else (PlayedWindow(seeds=(), returns=tuple(returns), score=float(np.mean(returns))),)
    values: dict[str, Any] = {
        "snapshot_id": f"{sequence:06d}",
        "sequence": sequence,
        "window_id": sequence,
        "eval_metrics": EvalMetrics(score if score is not None else float(np.mean(returns or [0.0]))),
        "hyperparams": HyperparamSet({}),
        "created_at": "",
        "evidence": played,
    }
    return PolicySnapshot(**(values | fields))


def order(*snapshots: PolicySnapshot) -> list[int]:
    return [one.sequence for one in ranked(snapshots)]


def successes(share: float, episodes: int) -> list[float]:
    count = round(share * episodes)
    return [1.0] * count + [0.0] * (episodes - count)


@pytest.mark.parametrize(
    ("few", "many", "leads"),
    [
        (successes(1.0, 10), successes(0.95, 100), "many"),
        (successes(1.0, 60), successes(0.95, 100), "few"),
        (successes(0.9, 10), successes(0.5, 100), "few"),
        ([500.0] * 5, [480.0] * 50 + [490.0] * 50, "few"),  # nothing that was seen lies far below
        ([500.0] * 5, [480.0] * 98 + [10.0] * 2, "many"),
    ],
)
def test_few_episodes_rank_below_what_many_have_shown(few: list[float], many: list[float], leads: str) -> None:
    assert order(snapshot(0, few), snapshot(1, many))[0] == (0 if leads == "few" else 1)


def test_equals_keep_their_order_and_so_do_scores_that_nobody_can_check() -> None:
    assert order(snapshot(0, [3.0] * 5), snapshot(1, [3.0] * 5)) == [0, 1]
    assert order(snapshot(0, score=1.0), snapshot(1, score=2.0), snapshot(2, score=2.0)) == [1, 2, 0]


def test_a_score_of_unknown_episodes_makes_its_era_rank_by_scores() -> None:
    lucky, proven = snapshot(0, successes(1.0, 10)), snapshot(1, successes(0.95, 100))
    assert order(lucky, proven, snapshot(2, score=0.5)) == [0, 1, 2]
    assert order(lucky, proven, snapshot(2, score=0.5, era=1)) == [2, 1, 0]


def test_what_has_no_score_or_is_in_reserve_does_not_rank() -> None:
    without = snapshot(1, score=9.0, eval_metrics=EvalMetrics(9.0, has_evidence=False))
    assert order(snapshot(0, score=1.0), without, snapshot(2, score=9.0, in_reserve=True)) == [0]


@pytest.mark.parametrize("returns", [[1.0] * 10, [0.0, 1.0] * 8, [-200.0, *[8.0] * 30]])
def test_the_bound_is_close_to_the_quantile_of_the_interval_and_never_the_mean(returns: list[float]) -> None:
    span = (-200.0, 8.0) if min(returns) < 0 else (0.0, 1.0)
    bound, interval = lower_bound(returns, span), mean_interval(returns, span, level=0.8)
    assert bound < np.mean(returns)
    assert abs(bound - interval.low) < 0.1 * (interval.high - interval.low) + 0.02 * (span[1] - span[0])


def test_the_bound_of_returns_that_all_policies_have_is_that_return() -> None:
    assert lower_bound([0.1] * 7, (0.1, 0.1)) == 0.1
    assert lower_bound([0.1] * 7, None) == 0.1


def test_huge_returns_are_no_overflow() -> None:
    assert math.isfinite(lower_bound([1e300, -1e300, 3.0], None))


@pytest.mark.parametrize(("score", "is_mean"), [(2.0, True), (4.0, False)])
def test_a_score_rests_on_returns_if_it_is_their_mean(score: float, is_mean: bool) -> None:
    metrics = EvalMetrics(score)
    assert rests_on_returns([PlayedWindow(seeds=(), returns=(1.0, 3.0), score=score)], metrics) is is_mean
    assert not rests_on_returns([], metrics)
