"""The other figures of the page: episodes and diagnostics by window, the tests of the best, and where the time went."""

from collections.abc import Mapping, Sequence
from typing import Any

from tensor_optix.report.curves import BEST, HELD_OUT, OTHER, TRAINING, Figure, line, short, window_points
from tensor_optix.report.run_data import RunData, number
from tensor_optix.report.words import DIAGNOSTICS, Diagnostic, in_figure

MOST_TESTS = 24
"""Tests of candidates that are shown, the newest."""
COUNTS = {"n_updates", "buffer_size", "target_updated"}
"""What learning tells that says nothing of its health."""
MOST_OTHERS = 12
"""Diagnostics without a usual range that are shown."""


def window_figures(data: RunData) -> list[Figure]:
    """Return a figure of the length of episodes, and one of each diagnostic that learning has told."""
    found = [_window_figure(data, "length", "Episode length", [w.get("mean_length") for w in data.windows])]
    told = {name for window in data.windows for name in _diagnostics(window)}
    names = [name for name in DIAGNOSTICS if name in told]
    others = sorted(told - DIAGNOSTICS.keys() - COUNTS)[:MOST_OTHERS]
    for position, name in enumerate([*names, *others]):
        known = DIAGNOSTICS.get(name, Diagnostic(label=name))
        values = [_diagnostics(window).get(name) for window in data.windows]
        found.append(_window_figure(data, f"health-{position}", known.label, values, known))
    return [figure for figure in found if figure is not None]


def _diagnostics(window: Mapping[str, Any]) -> Mapping[str, Any]:
    found = window.get("diagnostics")
    return found if isinstance(found, Mapping) else {}


def _window_figure(
    data: RunData, key: str, label: str, values: Sequence[Any], known: Diagnostic | None = None
) -> Figure | None:
    points = window_points(data, values)
    if len(points) < 2:
        return None
    shapes = []
    outside = 0
    if known is not None and known.low is not None and known.high is not None:
        shapes = [_usual_range(known.low, known.high)]
        outside = sum(not known.low <= value <= known.high for _, value, _ in points)
    share = f" {outside / len(points):.0%} of the windows are outside of what is usual." if outside else ""
    return Figure(
        key=key,
        title=in_figure(label),
        sentence=(known.meaning if known is not None else "") + share,
        traces=[line(in_figure(label), points, line={"color": HELD_OUT, "width": 1.5}, showlegend=False)],
        layout={"shapes": shapes, "height": 240},
        rows=(("first", short(points[0][1])), ("last", short(points[-1][1]))),
    )


def _usual_range(low: float, high: float) -> dict[str, Any]:
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


def tests_figure(data: RunData) -> Figure | None:
    """Return the tests of candidates against the best, both on the same episodes; None where there were none."""
    tests = [t for t in data.of_kind("test") if t.get("returns")][-MOST_TESTS:]
    if not tests:
        return None
    traces: list[dict[str, Any]] = []
    for name, key, colour, symbol in (
        ("candidate", "returns", HELD_OUT, "circle"),
        ("best so far", "incumbent_returns", TRAINING, "diamond-open"),
    ):
        pairs = [(number(value), _test_label(test)) for test in tests for value in test.get(key) or ()]
        if pairs:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [value for value, _ in pairs],
                    "y": [label for _, label in pairs],
                    "marker": {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.7},
                }
            )
    crowned = sum(test.get("outcome") == "crowned" for test in data.of_kind("test"))
    return Figure(
        key="tests",
        title="Tests of the best",
        sentence="Each row is a candidate and the best so far on the same fresh episodes, one mark an episode.",
        traces=traces,
        layout={
            "height": 120 + 24 * len(tests),
            "xaxis": {"title": {"text": "return"}},
            "yaxis": {"type": "category", "automargin": True},
            "keeps_x": True,
        },
        rows=(("tests", str(len(data.of_kind("test")))), ("of them won", str(crowned))),
    )


def _test_label(test: Mapping[str, Any]) -> str:
    return in_figure(f"window {test.get('window_id')}: {test.get('outcome')}")


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
            "name": labels.get(name, in_figure(name)),
            "x": [value],
            "y": ["time"],
            "marker": {"color": colours.get(name, "#999999")},
        }
        for name, value in seconds.items()
    ]
    rows = [(labels.get(name, name), f"{value:,.1f} s ({value / total:.0%})") for name, value in seconds.items()]
    after = _after_best(data)
    if after is not None:
        rows.append(("after the best was found", f"{after:.0%} of the steps"))
    return Figure(
        key="time",
        title="Where the time went",
        traces=traces,
        layout={"barmode": "stack", "height": 160, "xaxis": {"title": {"text": "seconds"}}, "keeps_x": True},
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
