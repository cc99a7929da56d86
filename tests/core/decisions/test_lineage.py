"""Where a variant came from, what it is worth by now, and whether it is kept."""

import json
import math

import pytest

from tensor_optix.core.decisions.lineage import MOST_FAILED, EvolutionCounts, Lineage, holds
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError


@pytest.mark.parametrize(
    ("score", "std_err", "parent", "kept"),
    [
        (96.0, math.nan, 100.0, True),
        (94.0, math.nan, 100.0, False),
        (94.0, 3.0, 100.0, True),  # within two standard errors
        (93.9, 3.0, 100.0, False),
        (-104.0, math.nan, -100.0, True),
        (-106.0, math.nan, -100.0, False),
        (math.nan, math.nan, 100.0, False),
    ],
)
def test_a_variant_holds_within_five_percent_or_twice_its_error(
    score: float, std_err: float, parent: float, kept: bool
) -> None:
    assert holds(EvalMetrics(score, {"score_std_err": std_err}), parent) is kept


def test_scores_are_those_that_the_snapshots_have_by_now() -> None:
    lineage = Lineage(1, "000003", 5.0, 0.1, {}, score=6.0, snapshot="000004")
    lineage.retest({"000003": 4.5, "000004": 7.5})
    assert (lineage.parent_score, lineage.score) == (4.5, 7.5)
    lineage.retest({})  # both were pruned
    assert (lineage.parent_score, lineage.score) == (4.5, 7.5)


def test_a_variant_without_a_snapshot_keeps_its_last_score() -> None:
    lineage = Lineage(1, "000003", 5.0, 0.1, {}, score=6.0)
    lineage.retest({"000003": 4.5})
    assert (lineage.parent_score, lineage.score) == (4.5, 6.0)


def test_counts_and_lineages_round_trip_through_json_and_an_unknown_score_stays_unknown() -> None:
    lineage = Lineage(2, "000001", 5.0, 0.1, {"learning_rate": (1e-3, 2e-3)}, windows=7)
    counts = EvolutionCounts(spawns=1, failed=1, pruned=2, lineages=[lineage])
    again = EvolutionCounts.from_dict(json.loads(json.dumps(counts.to_dict(), allow_nan=False)))
    assert (again.spawns, again.failed, again.pruned) == (1, 1, 2)
    assert math.isnan(again.lineages[0].score)
    assert again.lineages[0].changes == {"learning_rate": (1e-3, 2e-3)}
    assert again.to_dict() == counts.to_dict()


@pytest.mark.parametrize(
    "counts", [{"spawns": 1}, {"spawns": -1}, {"failed": MOST_FAILED + 1}, {"failed": -1}, {"pruned": -1}]
)
def test_counts_that_no_run_can_have_are_refused(counts: dict[str, int]) -> None:
    EvolutionCounts.from_dict(EvolutionCounts(failed=MOST_FAILED).to_dict())
    with pytest.raises(CheckpointCorruptError, match=r"but has 0 variants"):
        EvolutionCounts.from_dict({**EvolutionCounts().to_dict(), **counts})
