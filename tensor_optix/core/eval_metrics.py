"""The score of an evaluation, and the number that decisions are made on: the higher, the better."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tensor_optix.support.arguments import is_number
from tensor_optix.support.plain import Json, jsonable
from tensor_optix.support.schemas import SAVED_AS, Loose, rebuilt


@dataclass(frozen=True)
class EvalMetrics:
    """The score of one evaluated window. Higher is better, unless the evaluator's `compare` says otherwise."""

    primary_score: float
    """What is shown, and what decisions are made on by way of `utility`; NaN where there is no evidence."""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float], metadata={SAVED_AS: Mapping[str, Loose]})
    """Everything else that was measured, by name."""
    episode_id: int = 0
    """The window that was scored."""
    has_evidence: bool = True
    """False where the window holds nothing to judge a policy by."""
    lower_is_better: bool = False
    """True where `compare` prefers the lower score. The loop fills it in."""
    grade: float | None = None
    """Where `compare` goes by something else than the score: how many bests of the run this is better than, see
    `preference.graded`. The loop fills it in."""

    @property
    def is_usable(self) -> bool:
        """True where a decision may be made on the score: there is evidence and it is a finite number."""
        return self.has_evidence and math.isfinite(self.primary_score)

    @property
    def utility(self) -> float:
        """What decisions are made on, the higher the better: the score, its negative, or the grade."""
        if self.grade is not None:
            return self.grade
        return self.primary_score * (-1.0 if self.lower_is_better else 1.0)  # asked hundreds of times a decision

    @property
    def sign(self) -> float:
        """-1 where the lower score is better, else 1."""
        return -1.0 if self.lower_is_better else 1.0

    @property
    def std_err(self) -> float:
        """Standard error of the score, in its own units; NaN where it is not known."""
        return self._number("score_std_err")

    @property
    def utility_std_err(self) -> float:
        """Standard error of the utility; NaN where it is not known, as that of a grade."""
        return self.std_err if self.grade is None else math.nan

    @property
    def generalization_gap(self) -> float:
        """Training score minus validation score; NaN without validation."""
        return self._number("generalization_gap")

    def _number(self, name: str) -> float:
        value = self.metrics.get(name)
        if type(value) is float:
            return value
        return float(value) if is_number(value) else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; what is not finite becomes None."""
        saved: dict[str, Json] = {
            "primary_score": jsonable(self.primary_score),
            "metrics": {name: jsonable(value) for name, value in self.metrics.items()},
            "episode_id": self.episode_id,
            "has_evidence": self.has_evidence,
        }
        if self.lower_is_better:
            saved["lower_is_better"] = True
        return saved if self.grade is None else {**saved, "grade": self.grade}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)
