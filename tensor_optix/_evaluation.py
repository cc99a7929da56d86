"""What `tensor-optix evaluate` has found, beside what the run has reported, and how it confirms a score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from tensor_optix._run_reports import confirmed_report, read_report, write_report
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.intervals import ScoreInterval, mean_interval
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.loop.standing import best_interval, is_confirmed, seen_span
from tensor_optix.core.storage.line_log import HISTORY
from tensor_optix.core.training_report import NOT_AHEAD, TrainingReport, cut_text, episodes_text, score_text
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.support.commands import confirm_command
from tensor_optix.support.plain import jsonable


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The score of the best as a run has reported it."""

    score: float
    std_err: float
    interval: ScoreInterval | None
    confirmed: bool


@dataclass(kw_only=True)
class Evaluation:
    """Fresh episodes of the best policy of a run."""

    run_dir: Path
    snapshot: PolicySnapshot
    snapshot_path: Path
    returns: Sequence[float]
    interval: ScoreInterval
    """Of their mean."""
    report: TrainingReport | None
    """The run's; None where it has none yet."""
    reported: Reported

    @classmethod
    def of(
        cls, run_dir: Path, registry: CheckpointRegistry, snapshot: PolicySnapshot, returns: Sequence[float]
    ) -> Self:
        """Return the evaluation of a snapshot.

        Args:
            run_dir: the folder of the run.
            registry: its snapshots.
            snapshot: the one that played.
            returns: the return of each episode.

        Raises:
            CheckpointCorruptError: the history or the report of the run is damaged.
        """
        history = run_dir / HISTORY
        records = read_history(history) if history.exists() else ()
        span = seen_span((record.eval_metrics for record in records), registry.snapshots())
        report, path = read_report(run_dir), registry.path_of(snapshot)
        if report is not None and report.confirmed and Path(report.best_snapshot or "").name == path.name:
            reported = Reported(
                score=report.best_score, std_err=report.best_std_err, interval=report.best_interval, confirmed=True
            )
        else:
            metrics = snapshot.eval_metrics
            reported = Reported(
                score=metrics.primary_score,
                std_err=metrics.std_err,
                interval=best_interval(snapshot, span),
                confirmed=is_confirmed(snapshot),
            )
        return cls(
            run_dir=run_dir,
            snapshot=snapshot,
            snapshot_path=path,
            returns=returns,
            interval=mean_interval(returns, span),
            report=report,
            reported=reported,
        )

    def confirm(self, seed: int) -> bool:
        """Make these episodes the reported score; return False where the run has no report to write it to.

        Args:
            seed: root of the episodes' seeds.
        """
        self.reported = Reported(
            score=float(np.mean(self.returns)),
            std_err=standard_error(self.returns),
            interval=self.interval,
            confirmed=self.report is not None,
        )
        if self.report is None:
            return False
        self.report = confirmed_report(
            self.report, self.snapshot, self.snapshot_path, self.returns, self.interval, seed
        )
        write_report(self.run_dir, self.report)
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        error = standard_error(self.returns)
        return {
            "episodes": len(self.returns),
            "mean": float(np.mean(self.returns)),
            "std_err": 0.0 if math.isnan(error) else error,
            "low": self.interval.low,
            "high": self.interval.high,
            "level": self.interval.level,
            "method": self.interval.method,
            "min": min(self.returns),
            "max": max(self.returns),
            "reported": self.reported.score,
            "reported_std_err": 0.0 if math.isnan(self.reported.std_err) else self.reported.std_err,
            "confirmed": self.reported.confirmed,
            "start_score": None if self.report is None else jsonable(self.report.start_score),
            "ahead_of_start": None if self.report is None else self.report.ahead_of_start,
        }

    def __str__(self) -> str:
        mean, interval, reported = float(np.mean(self.returns)), self.interval, self.reported
        limit = None if self.report is None else self.report.best_limit
        lines = [
            f"{score_text(mean, interval)} over {len(self.returns)} greedy episodes "
            f"(min {score_text(min(self.returns), None, 1)}, max {score_text(max(self.returns), None, 1)}; "
            f"{interval.level:.0%} {interval.method})",
            f"Reported: {score_text(reported.score, reported.interval)}{cut_text(limit)} "
            f"({episodes_text(reported.interval, confirmed=reported.confirmed)})",
        ]
        if self.report is not None and math.isfinite(self.report.start_score):
            start = score_text(self.report.start_score, self.report.start_interval)
            lines.append(f"Untrained: {start}{cut_text(self.report.start_limit)}")
            if self.report.ahead_of_start is False:
                lines.append(NOT_AHEAD)
        if not reported.confirmed:
            run_dir, report = str(self.run_dir), self.report
            lines += [f"Confirm it: {confirm_command(run_dir)}"] if report is None else report.confirming(run_dir)
        return "\n".join(lines)
