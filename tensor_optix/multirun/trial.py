"""What a worker runs for a trial of a search: one run is trained, and its best policy plays the common episodes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensor_optix._run_reports import read_report
from tensor_optix.core.run_state import read_history
from tensor_optix.core.storage.line_log import HISTORY
from tensor_optix.core.training_report import StopReason
from tensor_optix.core.types import EvalMetrics
from tensor_optix.executors import Context, Payload
from tensor_optix.multirun.jobs import Stopping, play_best, trained
from tensor_optix.multirun.pruning import Curve, is_hopeless, optuna_module

TRY = "tensor_optix.multirun.trial:try_run"


def try_run(item: Payload, context: Context) -> Payload:
    """Train a run to its end, or until there is no hope in it, and let its best policy play.

    It may be called again for a run that has ended: then nothing is trained any more.

    Args:
        item: values `run_dir`, `allow_modules`, `windows` (see `multirun.jobs.play_best`), `references`, the curves of
            earlier trials as lists of pairs, and `patience`.
        context: told after each window.

    Returns:
        `returns` of the episodes that were played, `steps` of training, `curve`, and `is_pruned`; or `is_interrupted`.
    """
    values, run_dir = item.values, Path(item.values["run_dir"])
    if values["references"]:
        optuna_module()  # what an observer raises would go no further
    report = read_report(run_dir)
    if report is None or StopReason(report.reason) in (StopReason.INTERRUPTED, StopReason.ERROR):
        hope = Hope(run_dir, [dict(curve) for curve in values["references"]], values["patience"])
        report = trained(run_dir, values["allow_modules"], context, hope)
    if report.reason == StopReason.INTERRUPTED.value:
        return Payload({"is_interrupted": True})
    played = play_best(item, context).values["returns"]
    return Payload(
        {
            "returns": [value for window in played for value in window],
            "steps": report.env_steps,
            "curve": sorted(curve_of(run_dir).items()),
            "is_pruned": report.reason == StopReason.STOPPED.value,  # nobody else stops it
            "is_interrupted": False,
        }
    )


class Hope(Stopping):
    """Ends a run as soon as there is no hope in it.

    Args:
        run_dir: its folder.
        references: curves of earlier trials.
        patience: evaluations without improvement that are tolerated.
    """

    def __init__(self, run_dir: Path, references: Sequence[Curve], patience: int) -> None:
        self._run_dir, self._references, self._patience = run_dir, references, patience

    def on_window_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Look at an evaluation."""
        if eval_metrics is None or not self._references or self.stop is None:
            return
        curve = {window: score for window, score in curve_of(self._run_dir).items() if window < window_id}
        if math.isfinite(eval_metrics.primary_score):
            curve[window_id] = eval_metrics.primary_score
        if is_hopeless(curve, self._references, self._patience):
            self.stop()


def curve_of(run_dir: Path) -> dict[int, float]:
    """Return the score of each evaluation of a run, by its window."""
    path = run_dir / HISTORY
    if not path.exists():
        return {}
    found: dict[int, Any] = {one.window_id: one.eval_metrics.primary_score for one in read_history(path)}
    return {window: score for window, score in found.items() if math.isfinite(score)}
