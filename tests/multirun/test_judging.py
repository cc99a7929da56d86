"""What a generation of variants comes to: outcomes, shares of a bound, the standing after it."""

from typing import Any

import pytest

from tensor_optix.core.decisions.lineage import VariantOutcome
from tensor_optix.core.types import PlayedWindow
from tensor_optix.multirun.final_test import FinalTest
from tensor_optix.multirun.judging import Standing, outcome, share_of


@pytest.mark.parametrize(
    ("returns", "is_best", "expected"),
    [
        ([9.0, 11.0], True, VariantOutcome.NEW_BEST),
        ([], False, VariantOutcome.NOT_JUDGED),
        ([9.8, 9.8], False, VariantOutcome.KEPT),
        ([5.0, 13.0], False, VariantOutcome.KEPT),
        ([5.0, 5.0], False, VariantOutcome.DISCARDED),
    ],
)
def test_a_variant_is_kept_within_five_percent_or_twice_its_error(
    returns: list[float], is_best: bool, expected: VariantOutcome
) -> None:
    assert outcome(returns, [10.0, 10.0], is_best=is_best) is expected


@pytest.mark.parametrize(("bound", "spent", "share"), [(None, 50, None), (100, 40, 20), (100, 99, 0), (100, 120, 0)])
def test_variants_share_what_is_left_of_a_bound(bound: int | None, spent: int, share: int | None) -> None:
    assert share_of(bound, spent, 3) == share


def result(snapshot: str | None) -> dict[str, Any]:
    return {"changes": {}, "windows": 4, "steps": 100, "snapshot": snapshot, "sha256": snapshot, "reason": "converged"}


def test_variants_are_judged_in_their_order_by_the_episodes_that_both_have_played() -> None:
    test = FinalTest(
        best=2,
        evidence=(PlayedWindow(seeds=(1, 2), returns=(30.0, 50.0), score=40.0),),
        raced=((10.0, 10.0, 90.0, 90.0), (10.0, 11.0), (40.0, 60.0, 40.0, 60.0)),
    )
    results = [result("000001"), result(None), result("000007")]
    before = Standing(steps=1000, windows=40)
    after = before.after(results, "first/000003", 0.1, test, [0, 1, 3])
    assert [(one.number, one.outcome, one.score, one.parent_score) for one in after.variants] == [
        (1, "kept", 10.5, 10.0),
        (2, "not judged", None, None),
        (3, "new best", 50.0, 50.0),
    ]
    assert (after.best, after.generation, after.steps, after.windows) == (3, 1, 1300, 52)
    assert after.score == 40.0
    assert before.score is None
