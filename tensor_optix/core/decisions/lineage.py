"""The account of evolution: where each variant came from, what became of it, and how many there were. Plain values."""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tensor_optix.core.decisions.trend import DEGRADATION_ERRORS, degradation_drop
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.numbers import finite_or_zero
from tensor_optix.support.plain import Json, SavedState, jsonable


class VariantOutcome(enum.StrEnum):
    """What has become of a variant."""

    NOT_JUDGED = "not judged"
    NEW_BEST = "new best"
    KEPT = "kept"
    DISCARDED = "discarded"


@dataclass
class Lineage:
    """Where a variant came from, and what became of it."""

    number: int
    """Of the variants of this manager, from 1."""
    parent: str
    """Snapshot that it was cloned from."""
    parent_score: float
    """The parent's, as far as it was tested by now."""
    noise_scale: float
    changes: dict[str, tuple[Any, Any]]
    """Hyper-parameters that differ from the parent's: (parent's, its own)."""
    outcome: VariantOutcome = VariantOutcome.NOT_JUDGED
    score: float = math.nan
    """That of its best snapshot, as far as it was tested by now; without one, its last validated score."""
    snapshot: str | None = None
    """The newest of its snapshots that became the best, None if none did."""
    windows: int = 0
    """Windows it has learned from."""

    def retest(self, scores: Mapping[str, float]) -> None:
        """Take the scores that snapshots (by id) have by now; who is not among them was pruned and keeps its own."""
        self.parent_score = scores.get(self.parent, self.parent_score)
        if self.snapshot is not None:
            self.score = scores.get(self.snapshot, self.score)

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON values; what is not finite becomes None."""
        return {name: jsonable(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: SavedState) -> Self:
        """Rebuild from `to_dict`."""
        values: dict[str, Any] = {k: math.nan if v is None and k.endswith("score") else v for k, v in data.items()}
        values["outcome"] = VariantOutcome(data["outcome"])
        values["changes"] = {name: (old, new) for name, (old, new) in data["changes"].items()}
        return cls(**values)


MOST_FAILED = 1000
"""Spawns that may come to nothing; no other is tried then."""


@dataclass
class EvolutionCounts:
    """How often members came and went."""

    spawns: int = 0
    failed: int = 0
    pruned: int = 0
    lineages: list[Lineage] = field(default_factory=list[Lineage])

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON values."""
        return {**vars(self), "lineages": [lineage.to_dict() for lineage in self.lineages]}

    @classmethod
    def from_dict(cls, data: SavedState) -> Self:
        """Rebuild from `to_dict`.

        Raises:
            CheckpointCorruptError: counts that no run can have.
        """
        values: dict[str, Any] = {**data, "lineages": [Lineage.from_dict(lineage) for lineage in data["lineages"]]}
        counts = cls(**values)
        if counts.spawns != len(counts.lineages) or not 0 <= counts.failed <= MOST_FAILED or counts.pruned < 0:
            raise CheckpointCorruptError(
                f"The saved run has counted {counts.spawns} spawns, {counts.failed} that failed and {counts.pruned} "
                f"removed members, but has {len(counts.lineages)} variants, and none is spawned after {MOST_FAILED} "
                f"that failed."
            )
        return counts


HELD_SHARE = 0.95
"""A variant that holds this share of its parent's score, or what its noise allows, is kept."""


def holds(metrics: EvalMetrics, parent_score: float) -> bool:
    """Return True if a variant is not evidently worse than its parent: within 5 % or twice its standard error.

    A grade says nothing of that, so that a variant is kept then.
    """
    error = finite_or_zero(metrics.std_err)
    drop = max(degradation_drop(parent_score, HELD_SHARE, 0.0), DEGRADATION_ERRORS * error)
    is_near = metrics.grade is not None or metrics.utility >= metrics.sign * parent_score - drop
    return metrics.is_usable and is_near
