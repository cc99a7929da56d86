"""The live view of a run, in a terminal or a notebook; plain lines where there is neither."""

import math
import sys
import time
from collections.abc import Callable

from rich.console import Console

from tensor_optix.callbacks.beginning import Beginning
from tensor_optix.callbacks.pacing import pause_after
from tensor_optix.callbacks.screens import LineScreen, Screen, screen_for
from tensor_optix.core.decisions.intervals import Span, score_interval
from tensor_optix.core.decisions.validation_budget import cost_text
from tensor_optix.core.loop.parts import LoopStatus
from tensor_optix.core.loop.standing import best_interval, is_confirmed
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.training_report import episodes_text, score_text, watch_text
from tensor_optix.core.types import EvalMetrics, PolicySnapshot

_SECONDS_BETWEEN_DRAWINGS = 0.25
_SECONDS_BETWEEN_LINES = 5.0
_MOST_SECONDS_BETWEEN_DRAWINGS = 2.0


class Progress(LoopCallback):
    """Shows state, speed, scores, the hyper-parameter on trial and the time to the next evaluation.

    Before the first window has ended, it shows what is going on: compiling takes its time there.

    Args:
        status: where the run stands, e.g. `lambda: optimizer.status`.
        console: where to draw; None = standard error, or the output of the cell in a notebook.
        clock: monotonic seconds.
        processor: processor seconds of the process.
    """

    def __init__(
        self,
        status: Callable[[], LoopStatus],
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._status = status
        self._console = console or Console(file=sys.stderr)
        self._clock, self._processor = clock, processor
        self._screen: Screen | None = None
        self._last_shown, self._used_by_then = -math.inf, -math.inf
        self._pause = _SECONDS_BETWEEN_DRAWINGS
        self._beginning: Beginning | None = None

    def on_loop_start(self) -> None:
        """Open the view."""
        self._screen = screen_for(self._console)
        self._screen.open()
        self._beginning = Beginning(self._status, self._screen, self._clock)
        self._beginning.start()

    def on_loop_stop(self) -> None:
        """Close the view."""
        try:
            self._show(force=True)
        finally:
            if self._screen is not None:
                self._screen.close()
                self._screen = None

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Draw again, if the last drawing is old enough."""
        self._show()

    def _show(self, force: bool = False) -> None:
        if self._beginning is not None:
            self._beginning.stop()
            self._beginning = None
        if self._screen is None:
            self._screen = LineScreen(self._console)
        now = self._clock()
        pause = self._pause if self._screen.is_live else _SECONDS_BETWEEN_LINES
        since, used = now - self._last_shown, self._processor() - self._used_by_then
        if force or since >= pause:
            self._screen.show(describe(self._status()))
            self._last_shown, self._used_by_then = self._clock(), self._processor()
            self._pause = pause_after(
                self._last_shown - now,
                least=_SECONDS_BETWEEN_DRAWINGS,
                most=_MOST_SECONDS_BETWEEN_DRAWINGS,
                busy=used / since if 0.0 < since < math.inf else 1.0,
            )


def describe(status: LoopStatus) -> list[tuple[str, str]]:
    """Return what the view shows, as (label, text)."""
    metrics, best = status.metrics, status.best
    # Where there is a patience in steps it ends the run, and its row says how far it is used up.
    quiet = f" ({status.no_improvement}/{status.dormant_threshold} without improvement)"
    rows = [
        ("state", status.state.name if status.patience else status.state.name + quiet),
        ("window", str(status.window_id)),
        ("steps", f"{status.env_steps:,} ({status.steps_per_second:,.0f}/s)"),
    ]
    if metrics is not None:
        rows += _score_rows(metrics, status.span)
    if best is not None:
        rows.append(("best", _best_text(best, status.span)))
    if status.probed_param is not None and status.probed_value is not None:
        rows.append(("probing", f"{status.probed_param}={status.probed_value:.4g}"))
    if status.patience:
        rows.append(("patience", status.patience))
    if status.validation.get("put_off") or status.validation.get("cut"):
        rows.append(("validation", cost_text(status.validation, status.env_steps)))
    if status.watch:
        rows.append(("watch", watch_text(status.watch)))
    rows.append(("next evaluation", _next_text(status.windows_to_evaluation, status.seconds_to_evaluation)))
    return rows


def _next_text(windows: int, seconds: float) -> str:
    """Return when there is an evaluation again; one that is due has been put off, as the row of validation says."""
    return f"in {windows} window{'s' * (windows > 1)}, {seconds:.1f} s" if windows else "due"


def _score_rows(metrics: EvalMetrics, span: Span | None) -> list[tuple[str, str]]:
    """Return the rows of the last evaluation."""
    found = metrics.metrics
    score, error = found.get("train_score", metrics.primary_score), found.get("train_score_std_err", metrics.std_err)
    rows = [("train", score_text(score, score_interval(score, error, found.get("episodes", math.nan), span=span), 1))]
    if "val_score" in found:
        episodes = found.get("val_episodes", math.nan)
        interval = score_interval(metrics.primary_score, metrics.std_err, episodes, span=span)
        rows.append(("val", score_text(metrics.primary_score, interval, 1)))
    return rows


def _best_text(best: PolicySnapshot, span: Span | None) -> str:
    """Return the best score; it is unconfirmed until the last test."""
    interval = best_interval(best, span)
    tested = episodes_text(interval, confirmed=is_confirmed(best))
    return f"{score_text(best.eval_metrics.primary_score, interval, 1)}  ({tested})"
