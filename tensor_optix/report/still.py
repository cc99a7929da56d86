"""A figure as a still picture: what is seen before the library that draws has been read, and where no script may run.

Only curves over numbers are drawn. A picture is told in numbers and in colours that the figure names; the template
makes the elements. Positions are in percent of the area inside the axes, points of a curve in thousandths of it.
"""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, cast

from tensor_optix.report.curves import PADDING, Figure, Trace

HEIGHT = 380
"""Of a figure that names none, in pixels."""
_MARGINS = 68
"""Above and below the area inside the axes."""
_MOST_TICKS = 6
Axis: TypeAlias = tuple[float, float]
"""The lowest and the highest number of an axis."""
Place: TypeAlias = tuple[float, str]
"""Where a line of the grid is, and what is written beside it."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line or an area."""

    path: str
    stroke: str
    width: float
    fill: str


@dataclass(frozen=True, kw_only=True)
class Still:
    """A picture of a figure."""

    height: int
    areas: Sequence[tuple[float, float, float, float, str]]
    """Left, top, width, height and colour of what is behind the curves."""
    columns: Sequence[Place]
    rows: Sequence[Place]
    curves: Sequence[Curve]
    dots: Sequence[tuple[float, float, str]]
    names: Sequence[tuple[str, str]]
    """What a colour stands for."""
    x_title: str


def still_of(figure: Figure) -> Still | None:
    """Return the picture of a figure; None where its axes are not of numbers.

    Args:
        figure: what is drawn.
    """
    traces = [trace for trace in figure.traces if trace.get("type") == "scatter" and trace.get("x")]
    across = [x for trace in traces for x in _values(trace, "x")]
    if not traces or len(traces) < len(figure.traces) or not all(map(_is_number, across)):
        return None
    up = [y for trace in traces for y in _values(trace, "y")]
    if not all(map(_is_number, up)):
        return None
    x_axis, y_axis = _wide(min(across), max(across)), _axis_of(figure.layout, up)
    unit = str(_inner(figure.layout, "yaxis").get("tickformat", ""))
    return Still(
        height=cast(int, figure.layout.get("height", HEIGHT)) - _MARGINS,
        areas=list(_areas(figure.layout, x_axis, y_axis)),
        columns=[(_percent(x, x_axis), _short(x)) for x in _ticks(x_axis)],
        rows=[(100 - _percent(y, y_axis), format(y, unit) if unit else _short(y)) for y in _ticks(y_axis)],
        curves=[_curve(trace, x_axis, y_axis) for trace in traces if "lines" in str(trace.get("mode"))],
        dots=[dot for trace in traces if "markers" in str(trace.get("mode")) for dot in _dots(trace, x_axis, y_axis)],
        names=list(_names(traces)),
        x_title=str(_inner(_inner(figure.layout, "xaxis"), "title").get("text", "environment steps")),
    )


def _values(trace: Mapping[str, object], key: str) -> Sequence[float]:
    return cast(Sequence[float], trace[key])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _inner(layout: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = layout.get(key)
    return cast(Mapping[str, object], found) if isinstance(found, Mapping) else {}


def _wide(low: float, high: float) -> Axis:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _axis_of(layout: Mapping[str, object], values: Sequence[float]) -> Axis:
    given = _inner(layout, "yaxis").get("range")
    if given is not None:
        low, high = cast(Sequence[float], given)
        return _wide(low, high)
    low, high = _wide(min(values), max(values))
    room = PADDING * (high - low)
    return low - room, high + room


def _percent(value: float, axis: Axis) -> float:
    return round(100 * (min(max(value, axis[0]), axis[1]) - axis[0]) / (axis[1] - axis[0]), 2)


def _ticks(axis: Axis) -> Iterator[float]:
    """Yield round numbers along an axis, at most `_MOST_TICKS`: steps of 1, 2 or 5 times a power of ten."""
    span = axis[1] - axis[0]
    power = 10.0 ** math.floor(math.log10(span / _MOST_TICKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * _MOST_TICKS >= span)
    for n in range(math.ceil(axis[0] / step), math.floor(axis[1] / step) + 1):
        yield n * step


def _short(value: float) -> str:
    units = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
    unit, name = next((one for one in units if abs(value) >= one[0]), (1.0, ""))
    return f"{value / unit:.4g}{name}".replace("-", "\N{MINUS SIGN}")


def _areas(
    layout: Mapping[str, object], x_axis: Axis, y_axis: Axis
) -> Iterator[tuple[float, float, float, float, str]]:
    for shape in cast(Sequence[Trace], layout.get("shapes", ())):
        if shape.get("type") != "rect":
            continue
        (x0, x1), (y0, y1) = (
            (0.0, 100.0)
            if shape[f"{name}ref"] == "paper"
            else tuple(_percent(cast(float, shape[f"{name}{end}"]), axis) for end in (0, 1))
            for name, axis in (("x", x_axis), ("y", y_axis))
        )
        yield x0, round(100 - y1, 2), round(x1 - x0, 2), round(y1 - y0, 2), str(shape["fillcolor"])


def _curve(trace: Mapping[str, object], x_axis: Axis, y_axis: Axis) -> Curve:
    places: list[str] = []
    points = list(zip(_values(trace, "x"), _values(trace, "y"), strict=True))
    line, filled = _inner(trace, "line"), trace.get("fill") == "toself"
    if line.get("shape") == "hv":  # steps
        points = [point for before, after in pairwise(points) for point in (before, (after[0], before[1]))] + points[
            -1:
        ]
    for x, y in points:
        place = f"{10 * _percent(x, x_axis):.0f} {10 * (100 - _percent(y, y_axis)):.0f}"
        if not places or places[-1] != place:
            places.append(place)
    return Curve(
        path=f"M{'L'.join(places)}{'Z' * filled}",
        stroke="none" if filled else str(line.get("color", "")),
        width=cast(float, line.get("width", 1.5)),
        fill=str(trace["fillcolor"]) if filled else "none",
    )


def _dots(trace: Mapping[str, object], x_axis: Axis, y_axis: Axis) -> Iterator[tuple[float, float, str]]:
    colour = _colour(trace)
    for x, y in zip(_values(trace, "x"), _values(trace, "y"), strict=True):
        yield _percent(x, x_axis), round(100 - _percent(y, y_axis), 2), colour


def _names(traces: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    for trace in traces:
        if trace.get("name") and trace.get("showlegend") is not False and trace.get("fill") != "toself":
            yield html.unescape(str(trace["name"])), _colour(trace)  # figures escape the names that they show


def _colour(trace: Mapping[str, object]) -> str:
    return str(_inner(trace, "line").get("color") or _inner(trace, "marker").get("color"))
