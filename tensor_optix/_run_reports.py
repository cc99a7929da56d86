"""`report.json` of a run: what it came to, and what later episodes have confirmed; and its page, at its end."""

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
from tensor_optix.errors import TensorOptixError
from tensor_optix.support.optional import require
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


def check_page_can_be_made() -> None:
    """Look for what a page is made with: the end of a long run is too late to find that it is missing.

    Raises:
        MissingDependencyError: it is; the message has the install line.
    """
    for module in ("jinja2", "plotly.offline"):
        require(module, "report=True", "report")


def keep_page(run_dir: Path) -> None:
    """Write the page of the run in a folder; where that fails, a warning says so: the run itself is saved."""
    from tensor_optix.report.page import write_page  # what draws is loaded where somebody wants to see

    try:
        write_page(run_dir)
    except TensorOptixError as error:
        logger.warning("The page of the run is not written: %s", error)
    except Exception:  # the run is over and saved: what it came to must reach whoever started it
        logger.exception("The page of the run is not written.")


def confirmed_report(
    report: TrainingReport,
    snapshot: PolicySnapshot,
    path: Path,
    returns: Sequence[float],
    interval: ScoreInterval,
    seed: int,
) -> TrainingReport:
    """Return a report whose best is confirmed by fresh episodes.

    Args:
        report: what the run came to.
        snapshot: the best, which played them.
        path: its folder.
        returns: the return of each episode.
        interval: of their mean.
        seed: root of the episodes' seeds.
    """
    mean = float(np.mean(returns))
    start = Start(score=report.start_score, std_err=report.start_std_err, interval=report.start_interval)
    if report.reason != StopReason.NOTHING_LEARNED.value and is_ahead_apart(mean, interval, start):
        report = replace(report, ahead_of_start=True, advice="")
    return replace(
        report,
        best_score=mean,
        best_std_err=interval.std_err(standard_error(returns)),
        best_window=snapshot.window_id,
        best_snapshot=str(path),
        generalization_gap=snapshot.eval_metrics.metrics.get("train_score", math.nan) - mean,
        hyperparams=dict(snapshot.hyperparams.params),
        best_interval=interval,
        confirmed=True,
        confirmation={"seed": seed, "episodes": len(returns)},
    )


def still_confirmed(report: TrainingReport, earlier: TrainingReport | None) -> TrainingReport:
    """Return a report with the score that `evaluate --confirm` gave its best in an earlier one, where it has none.

    Args:
        report: of the run.
        earlier: of the same run, before it was resumed; None where there was none.
    """
    if earlier is None or not earlier.confirmation or report.confirmed:
        return report
    if Path(earlier.best_snapshot or "").name != Path(report.best_snapshot or "").name:
        return report
    return replace(report, **{name: getattr(earlier, name) for name in _OF_A_CONFIRMATION})


_OF_A_CONFIRMATION = (
    "best_score",
    "best_std_err",
    "generalization_gap",
    "best_interval",
    "confirmed",
    "confirmation",
    "ahead_of_start",
    "advice",
)
