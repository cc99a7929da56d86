"""The live view of a run in the terminal; plain lines where there is none."""

import math
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tensor_optix.core.decisions.intervals import Span, score_interval
from tensor_optix.core.decisions.validation_budget import cost_text
from tensor_optix.core.loop.parts import LoopStatus
from tensor_optix.core.loop.standing import best_interval, is_confirmed
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.training_report import episodes_text, score_text, watch_text
from tensor_optix.core.types import EvalMetrics, PolicySnapshot

_SECONDS_BETWEEN_DRAWINGS = 0.25
_SECONDS_BETWEEN_LINES = 5.0


class Progress(LoopCallback):
    """Shows state, speed, scores, the hyper-parameter on trial and the time to the next evaluation.

    Args:
        status: where the run stands, e.g. `lambda: optimizer.status`.
        console: where to draw; None = standard error.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        status: Callable[[], LoopStatus],
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._console = console or Console(file=sys.stderr)
        self._clock = clock
        self._live: Live | None = None
        self._last_shown = -math.inf

    def on_loop_start(self) -> None:
        """Open the view."""
        if self._console.is_terminal:
            live = Live(console=self._console, auto_refresh=False, transient=True)
            live.start()
            self._live = live

    def on_loop_stop(self) -> None:
        """Close the view."""
        try:
            self._show(force=True)
        finally:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Draw again, if the last drawing is old enough."""
        self._show()

    def on_improvement(self, snapshot: PolicySnapshot) -> None:
        """Draw a new best at once, where that costs nothing."""
        self._show(force=self._live is not None)

    def _show(self, force: bool = False) -> None:
        now = self._clock()
        pause = _SECONDS_BETWEEN_DRAWINGS if self._live is not None else _SECONDS_BETWEEN_LINES
        if not force and now - self._last_shown < pause:
            return
        self._last_shown = now
        rows = describe(self._status())
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for label, value in rows:
                table.add_row(Text(label, style="dim"), Text(value))
            self._live.update(Panel(table, title="tensor-optix", title_align="left", expand=False), refresh=True)
        else:
            line = "  ".join(f"{label}={value}" for label, value in rows)
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def describe(status: LoopStatus) -> list[tuple[str, str]]:
    """Return what the view shows, as (label, text)."""
    metrics, best = status.metrics, status.best
    rows = [
        ("state", f"{status.state.name} ({status.no_improvement}/{status.dormant_threshold} without improvement)"),
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
    rows.append(("next evaluation", f"{status.windows_to_evaluation} windows, {status.seconds_to_evaluation:.1f} s"))
    return rows


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
