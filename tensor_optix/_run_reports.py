"""`report.json` of a run: what it came to, and what later episodes have confirmed."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tensor_optix.core.decisions.intervals import ScoreInterval
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.decisions.untrained import Start, is_ahead_apart
from tensor_optix.core.storage.atomic import encode_json, replace_file, storage_errors
from tensor_optix.core.storage.line_log import REPORT
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.errors import CheckpointStorageError
from tensor_optix.support.schemas import decode_object

logger = logging.getLogger(__name__)

MAX_REPORT_BYTES = 1 << 24


def read_report(run_dir: Path) -> TrainingReport | None:
    """Return the report of the run in a folder; None where it has none yet.

    Raises:
        CheckpointCorruptError: it is damaged.
    """
    path = run_dir / REPORT
    if not path.exists():
        return None
    return TrainingReport.from_dict(decode_object(read_plain(path, MAX_REPORT_BYTES), str(path)))


def write_report(run_dir: Path, report: TrainingReport) -> None:
    """Write the report of the run in a folder."""
    with storage_errors("write", run_dir):
        replace_file(run_dir / REPORT, encode_json(report.to_dict()))


def keep_report(run_dir: Path, report: TrainingReport) -> None:
    """Write the report of the run in a folder; where the storage refuses, a warning says so."""
    try:
        write_report(run_dir, report)
    except CheckpointStorageError as error:
        logger.warning("The report is not saved: %s", error)


def confirmed_report(
    report: TrainingReport, snapshot: PolicySnapshot, path: Path, returns: Sequence[float], interval: ScoreInterval
) -> TrainingReport:
    """Return a report whose best is confirmed by fresh episodes.

    Args:
        report: what the run came to.
        snapshot: the best, which played them.
        path: its folder.
        returns: the return of each episode.
        interval: of their mean.
    """
    mean = float(np.mean(returns))
    start = Start(score=report.start_score, std_err=report.start_std_err, interval=report.start_interval)
    if report.reason != StopReason.NOTHING_LEARNED.value and is_ahead_apart(mean, interval, start):
        report = replace(report, ahead_of_start=True, advice="")
    return replace(
        report,
        best_score=mean,
        best_std_err=standard_error(returns),
        best_window=snapshot.window_id,
        best_snapshot=str(path),
        generalization_gap=snapshot.eval_metrics.metrics.get("train_score", math.nan) - mean,
        hyperparams=dict(snapshot.hyperparams.params),
        best_interval=interval,
        confirmed=True,
    )
