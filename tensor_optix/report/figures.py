"""Figures of the page beside the curve: episodes and diagnostics by window, and where the time went."""

from collections.abc import Mapping, Sequence

from tensor_optix.core.storage.line_log import Record
from tensor_optix.report.curves import (
    BEST,
    HELD_OUT,
    OTHER,
    PADDING,
    TRAINING,
    Figure,
    Trace,
    line,
    rounded,
    short,
    window_points,
)
from tensor_optix.report.diagnostics import COUNTS, DIAGNOSTICS, WITHOUT_UPDATES, Diagnostic, diagnostic_of
from tensor_optix.report.run_data import RunData, number
from tensor_optix.report.words import in_figure, visible

MOST_SMALL = 600
"""Points of a curve in a figure of half the width."""
MOST_OTHERS = 12
"""Diagnostics of which nothing is known that are shown."""
_LENGTH = Diagnostic(label="Episode length", meaning="Mean number of steps of the episodes that ended in a window.")


def window_figures(data: RunData) -> list[Figure]:
    """Return figures of the length and the success of episodes, and one of each number that learning has told."""
    found = [
        _window_figure(data, "length", _LENGTH, [w.get("mean_length") for w in data.windows]),
        _success_figure(data),
    ]
    told = frozenset(name for window in data.windows for name in _diagnostics(window))
    names = [name for name in DIAGNOSTICS if name in told]
    others = sorted(told - DIAGNOSTICS.keys() - COUNTS)[:MOST_OTHERS]
    # Where rewards are normalised, values are in other units than returns.
    returns = [] if data.description.get("normalize_rewards") else data.numbers("mean_return")
    for position, name in enumerate([*names, *others]):
        values = [_told(window, name) for window in data.windows]
        found.append(_window_figure(data, f"health-{position}", diagnostic_of(name, told), values, returns))
    return [figure for figure in found if figure is not None]


def _diagnostics(window: Record) -> Record:
    found = window.get("diagnostics")
    return found if isinstance(found, Mapping) else {}


def _told(window: Record, name: str) -> object:
    """Return a number of a window; None where it was not told, or means nothing as no gradient step was made."""
    told = _diagnostics(window)
    return None if told.get("n_updates") == 0 and name not in WITHOUT_UPDATES else told.get(name)


def _success_figure(data: RunData) -> Figure | None:
    """Return the share of episodes that the environment calls a success; None where it says nothing of that."""
    training = window_points(data, [w.get("success_rate") for w in data.windows])
    hours = data.hours
    held_out = [
        (r.env_steps, r.eval_metrics.metrics["val_success_rate"], hours.get(r.window_id, 0.0))
        for r in data.history
        if "val_success_rate" in r.eval_metrics.metrics
    ]
    both = (("training", training, TRAINING), ("held-out", held_out, HELD_OUT))
    known = [(name, points, colour) for name, points, colour in both if points]
    if not known:
        return None
    return Figure(
        key="success",
        title="Success rate",
        sentence="Share of the episodes whose last info said is_success or success.",
        traces=[
            line(name, points, most=MOST_SMALL, line={"color": colour, "width": 1.5}) for name, points, colour in known
        ],
        layout={"height": 240, "yaxis": {"range": [-0.02, 1.02], "tickformat": ".0%"}},
        rows=tuple((f"last, {name}", f"{points[-1][1]:.0%}") for name, points, _ in known),
    )


def _window_figure(
    data: RunData, key: str, known: Diagnostic, values: Sequence[object], returns: Sequence[float] = ()
) -> Figure | None:
    points = window_points(data, values)
    if len(points) < 2:
        return None
    usual = known.range([value for _, value, _ in points], returns)
    outside = 0 if usual is None else sum(not usual[0] <= value <= usual[1] for _, value, _ in points)
    share = f" {outside:,} of {len(points):,} windows are outside of what is usual." if outside else ""
    label = in_figure(known.label)
    return Figure(
        key=key,
        title=visible(known.label),
        sentence=known.sentence + share,
        traces=[line(label, points, most=MOST_SMALL, line={"color": HELD_OUT, "width": 1.5}, showlegend=False)],
        layout={"height": 240} if usual is None else _with_usual([value for _, value, _ in points], *usual),
        rows=(("first", short(points[0][1])), ("last", short(points[-1][1]))),
    )


def _with_usual(values: Sequence[float], low: float, high: float) -> Trace:
    """Return the layout of values with what is usual behind them, of which so much is seen that they fill a third."""
    least, most = min(values), max(values)
    room = (most - least) or (high - low)
    bottom, top = min(least, max(low, least - room)), max(most, min(high, most + room))
    padding = PADDING * (top - bottom)
    return {
        "shapes": [_usual_range(low, high)],
        "height": 240,
        "yaxis": {"range": [rounded(bottom - padding), rounded(top + padding)]},
    }


def _usual_range(low: float, high: float) -> Trace:
    return {
        "type": "rect",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": low,
        "y1": high,
        "line": {"width": 0},
        "layer": "below",
        "fillcolor": "rgba(0,158,115,0.10)",
    }


def time_figure(data: RunData) -> Figure | None:
    """Return where the time went; None where it is not known."""
    seconds = dict(data.report.seconds) if data.report is not None else _summed(data)
    total = seconds.pop("total", 0.0) or sum(seconds.values())
    if not total:
        return None
    colours = {"collect": HELD_OUT, "learn": BEST, "validate": TRAINING, "loop": OTHER}
    labels = {"collect": "collecting", "learn": "learning", "validate": "validating", "loop": "the loop itself"}
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [rounded(value) for value in seconds.values()],
            "y": [labels.get(name, in_figure(name)) for name in seconds],
            "marker": {"color": [colours.get(name, "#999999") for name in seconds]},
        }
    ]
    rows = [(labels.get(name, name), f"{value:,.1f} s ({value / total:.0%})") for name, value in seconds.items()]
    after = _after_best(data)
    if after is not None:
        rows.append(("after the best was found", f"{after:.0%} of the steps"))
    return Figure(
        key="time",
        title="Where the time went",
        traces=traces,
        layout={
            "height": 80 + 28 * len(seconds),
            "xaxis": {"title": {"text": "seconds"}},
            "yaxis": {"type": "category", "automargin": True, "dtick": 1, "autorange": "reversed"},
            "keeps_x": True,
        },
        rows=tuple(rows),
    )


def _summed(data: RunData) -> dict[str, float]:
    found: dict[str, float] = {}
    for timing in data.timings:
        seconds = timing.get("seconds")
        for name, value in seconds.items() if isinstance(seconds, Mapping) else ():
            found[name] = found.get(name, 0.0) + number(value)
    return found


def _after_best(data: RunData) -> float | None:
    """Return the share of the steps after the window in which the best was found."""
    if data.report is None or data.report.best_window is None or not data.report.env_steps:
        return None
    steps = [r.env_steps for r in data.history if r.window_id <= data.report.best_window]
    return 1.0 - (steps[-1] if steps else 0) / data.report.env_steps
