"""What a run came to, as data and as the printed block."""

import enum
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tensor_optix.core.types import jsonable

_WIDTH = 60


class StopReason(enum.Enum):
    """Why a run ended."""

    CONVERGED = "converged"
    BUDGET = "budget"
    MAX_EPISODES = "max_episodes"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    EXHAUSTED = "exhausted"
    ERROR = "error"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    StopReason.CONVERGED: "Converged: no improvement for the whole patience",
    StopReason.BUDGET: "Spawn budget exhausted",
    StopReason.MAX_EPISODES: "max_episodes windows are done",
    StopReason.STOPPED: "stop() was called",
    StopReason.INTERRUPTED: "Interrupted by the user",
    StopReason.EXHAUSTED: "The pipeline has no more windows",
    StopReason.ERROR: "An error ended the run",
}


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """Why a run ended, what it found and what it cost."""

    reason: str
    """Value of the `StopReason`."""
    best_score: float
    """Score of the best snapshot; NaN where nothing could be scored."""
    best_std_err: float
    """Standard error of that score; NaN where it is not known."""
    best_window: int | None
    """Window in which it was found."""
    best_snapshot: str | None
    """Folder of the best snapshot."""
    train_score: float
    """Training score of the last evaluation."""
    val_score: float
    """Validation score of the last evaluation; NaN without validation."""
    generalization_gap: float
    """Training minus validation score of the best snapshot."""
    windows: int
    evaluations: int
    env_steps: int
    """Training steps; validation is not counted."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time: `total`, `collect` (environment and acting), `learn`, `validate`, `loop` (all the rest)."""
    hyperparams: Mapping[str, Any] = field(default_factory=dict)
    """The values of the best snapshot."""
    checkpoint_dir: str = ""
    tuning: dict[str, float] = field(default_factory=dict)
    """What tuning did and cost: probes, commits by decision, windows and seconds lived with a value on trial."""
    evolution: dict[str, Any] = field(default_factory=dict)
    """`PolicyManager.training_report()`; empty without evolution."""

    @property
    def converged(self) -> bool:
        """True if the loop itself decided that the model is trained."""
        return self.reason in (StopReason.CONVERGED.value, StopReason.BUDGET.value)

    @property
    def steps_per_second(self) -> float:
        """Training steps per second of wall time, validation included in the time."""
        return self.env_steps / self.seconds["total"] if self.seconds.get("total") else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; what is not finite becomes None."""
        return {name: jsonable(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        numbers = ("best_score", "best_std_err", "train_score", "val_score", "generalization_gap")
        return cls(**{**data, **{name: math.nan if data[name] is None else data[name] for name in numbers}})

    def __str__(self) -> str:
        speed = f"  ({self.steps_per_second:,.0f}/s)" if math.isfinite(self.steps_per_second) else ""
        rows = [
            ("Reason", StopReason(self.reason).sentence),
            None,
            ("Best score", _with_error(self.best_score, self.best_std_err)),
            ("Found in window", "-" if self.best_window is None else str(self.best_window)),
        ]
        if math.isfinite(self.generalization_gap):
            rows.append(("Generalization", f"{self.generalization_gap:.4f}  (train - val)"))
        rows += [
            ("Windows", f"{self.windows}  ({self.evaluations} evaluated)"),
            ("Environment steps", f"{self.env_steps:,}{speed}"),
            ("Time", f"{self.seconds.get('total', 0.0):.1f} s"),
            ("Checkpoint", self.best_snapshot or "-"),
        ]
        rule = "━" * _WIDTH
        lines = [rule, "  Training Complete"]
        lines += [rule if row is None else f"  {row[0]:<18}: {row[1]}" for row in rows]
        return "\n".join([*lines, rule])


def _with_error(score: float, std_err: float) -> str:
    if not math.isfinite(score):
        return "none (no episode was completed)"
    return f"{score:.2f} ± {std_err:.2f}" if math.isfinite(std_err) else f"{score:.2f}"
