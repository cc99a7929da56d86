"""The curve of a run as a figure: a plain specification of what is drawn, not of how it looks.

A curve has its x values twice, as environment steps (`x`) and as hours (`meta.hours`); the page switches between them.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.types import LoopState
from tensor_optix.report.run_data import RunData

Point: TypeAlias = tuple[int, float, float]
"""Steps, value, hours."""
MOST_POINTS = 1200
"""Of a curve; longer ones are thinned, each stretch to its lowest and its highest point."""
PADDING = 0.05
"""Of the height of a figure, above and below what is drawn."""
TRAINING, HELD_OUT, BEST, OTHER = "#D55E00", "#0072B2", "#009E73", "#CC79A7"
"""Colours that the colour-blind can tell apart (Okabe and Ito 2008), each 3:1 or more on both backgrounds."""
STATES = {
    LoopState.ACTIVE.value: "rgba(0,158,115,0.10)",
    LoopState.COOLING.value: "rgba(86,180,233,0.16)",
    LoopState.DORMANT.value: "rgba(204,121,167,0.18)",
    LoopState.WATCHDOG.value: "rgba(230,159,0,0.14)",
}

Trace: TypeAlias = dict[str, object]
"""A curve, a shape or a layout, as Plotly takes it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the page."""

    key: str
    """Its place on the page."""
    title: str
    sentence: str = ""
    """What it shows, or what it means."""
    traces: Sequence[Mapping[str, object]] = ()
    layout: Mapping[str, object] = field(default_factory=dict[str, object])
    rows: Sequence[tuple[str, str]] = ()
    """Its numbers in words, for those who see no figure."""

    def to_dict(self) -> dict[str, object]:
        """Return what draws it."""
        return {"data": list(self.traces), "layout": dict(self.layout)}


def curve_figure(data: RunData) -> Figure | None:
    """Return the score against steps, on training and on held-out episodes; None where nothing was evaluated."""
    usable = [record for record in data.history if record.eval_metrics.is_usable]
    if not usable:
        return None
    best = max(usable, key=lambda r: -math.inf if r.best_score is None else r.best_score)
    last = usable[-1]
    return Figure(
        key="curve",
        title="Score",
        sentence="Scores of evaluations, with one standard error; the mean return of each training window; stars are "
        "policies that became the best. The background is the state of the loop: green ACTIVE, blue COOLING, pink "
        "DORMANT, orange WATCHDOG.",
        traces=list(_curve_traces(data, usable)),
        layout={"shapes": _state_shapes(data), "yaxis": {"title": {"text": "score"}}},
        rows=(
            ("first score", short(usable[0].eval_metrics.primary_score)),
            ("last score", short(last.eval_metrics.primary_score)),
            ("best score by then", short(best.best_score)),
            ("evaluations", str(len(usable))),
        ),
    )


def _curve_traces(data: RunData, usable: Sequence[HistoryRecord]) -> Iterator[Trace]:
    hours = data.hours

    def at(window_id: int) -> float:
        return hours.get(window_id, 0.0)

    yield from _band(usable, at)
    training = window_points(data, [window.get("mean_return") for window in data.windows])
    if training:
        yield line("training", training, line={"color": TRAINING, "width": 1.5}, opacity=0.85)
    scores = [(r.env_steps, r.eval_metrics.primary_score, at(r.window_id)) for r in usable]
    name = "held-out" if any("val_score" in r.eval_metrics.metrics for r in usable) else "score"
    yield line(name, scores, line={"color": HELD_OUT, "width": 2})
    crowned = [point for point, record in zip(scores, usable, strict=True) if record.is_best]
    if crowned:
        yield line("new best", crowned, mode="markers", marker={"color": BEST, "size": 9, "symbol": "star"})


def line(name: str, points: Sequence[Point], *, most: int = MOST_POINTS, **more: object) -> Trace:
    """Return a curve.

    Args:
        name: what it shows.
        points: steps, value and hours of each.
        most: points that are kept.
        more: how it is drawn.
    """
    thin = thinned(points, most)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for x, _, _ in thin],
        "y": [rounded(y) for _, y, _ in thin],
        "meta": {"hours": [rounded(when) for _, _, when in thin]},
        **more,
    }


def window_points(data: RunData, values: Sequence[object]) -> list[Point]:
    """Return steps, value and hours of each window that has a value."""
    return [
        (steps, float(value), hours)
        for (steps, hours), value in zip(data.window_places, values, strict=True)
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _band(usable: Sequence[HistoryRecord], at: Callable[[int], float]) -> Iterator[Trace]:
    known = [r for r in usable if math.isfinite(r.eval_metrics.std_err)]
    if len(known) < 2:
        return
    step = max(1, math.ceil(len(known) / MOST_POINTS))
    known = known[::step]
    x, hours = [r.env_steps for r in known], [at(r.window_id) for r in known]
    upper = [r.eval_metrics.primary_score + r.eval_metrics.std_err for r in known]
    lower = [r.eval_metrics.primary_score - r.eval_metrics.std_err for r in known]
    yield {
        "type": "scatter",
        "name": "± 1 standard error",
        "x": [*x, *reversed(x)],
        "y": [*upper, *reversed(lower)],
        "meta": {"hours": [*hours, *reversed(hours)]},
        "fill": "toself",
        "fillcolor": "rgba(0,114,178,0.18)",
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
    }


def _state_shapes(data: RunData) -> list[Trace]:
    """Return the states as background: one rectangle for each stretch of evaluations in the same state."""
    shapes: list[Trace] = []
    begun, state = 0, None
    for record in data.history:
        if record.state != state:
            if state is not None:
                shapes.append(_state_shape(state, begun, record.env_steps))
            begun, state = record.env_steps if state is not None else 0, record.state
    if state is not None:
        shapes.append(_state_shape(state, begun, data.history[-1].env_steps))
    return shapes[-200:]


def _state_shape(state: str, begun: int, ended: int) -> Trace:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": begun,
        "x1": ended,
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "layer": "below",
        "fillcolor": STATES.get(state, "rgba(0,0,0,0)"),
    }


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most so many points of a curve: of each stretch its lowest and its highest, in their order."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    kept: list[Point] = []
    for begin in range(0, len(points), size):
        stretch = range(begin, min(begin + size, len(points)))
        low = min(stretch, key=lambda i: points[i][1])
        high = max(stretch, key=lambda i: points[i][1])
        kept += [points[i] for i in sorted({low, high})]
    return kept


def rounded(value: float) -> float:
    """Return a number in as many digits as a figure can show: the page is to stay small."""
    return float(f"{value:.6g}")


def short(value: float | None) -> str:
    """Return a number in four digits, or `-` for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"
