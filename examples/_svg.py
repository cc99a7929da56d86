"""Plain charts as SVG, for the pages of the examples: the same data, the same bytes."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TypeAlias

import numpy as np

_WIDTH, _HEIGHT = 760, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 34, 30
_MOST_POINTS = 400

Series: TypeAlias = Sequence[float] | np.ndarray

BLUE, ORANGE, GREEN, GREY, RED, YELLOW = "#0072b2", "#d55e00", "#009e73", "#888888", "#cc3311", "#e8c547"


class Panel:
    """One chart.

    Args:
        title: above it.
        x: (low, high) of the axis.
        y: (low, high) of the axis.
        x_label: below it, at the right.
        names: what stands below 1, 2, ... in place of numbers.
    """

    def __init__(
        self, title: str, x: tuple[float, float], y: tuple[float, float], x_label: str, names: Sequence[str] = ()
    ) -> None:
        self._title, self._x, self._y, self._x_label, self._names = title, x, y, x_label, names
        self._parts: list[str] = []
        self._legend: list[tuple[str, str]] = []

    def line(self, xs: Series, ys: Series, color: str, label: str = "", *, thin: bool = False) -> None:
        """Draw a line; without a label it is not in the legend."""
        points = " ".join(f"{self._px(x):.1f},{self._py(y):.1f}" for x, y in _thinned(xs, ys))
        style = 'stroke-width="1" stroke-opacity="0.4"' if thin else 'stroke-width="1.8"'
        self._parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" {style}/>')
        self._name(color, label)

    def band(self, xs: Series, low: Series, high: Series, color: str, label: str) -> None:
        """Fill what is between two lines."""
        around = [*_thinned(xs, low), *reversed(_thinned(xs, high))]
        points = " ".join(f"{self._px(x):.1f},{self._py(y):.1f}" for x, y in around)
        self._parts.append(f'<polygon points="{points}" fill="{color}" fill-opacity="0.2"/>')
        self._name(color, label)

    def dots(
        self,
        xs: Series,
        ys: Series,
        color: str,
        label: str = "",
        *,
        errors: Series | None = None,
        is_open: bool = False,
    ) -> None:
        """Draw a point each, open ones as rings, and a bar over what it may be off by."""
        for n, (x, y) in enumerate(zip(xs, ys, strict=True)):
            if errors is not None:
                bar = f'x1="{self._px(x):.1f}" x2="{self._px(x):.1f}" y1="{self._py(y - errors[n]):.1f}"'
                self._parts.append(f'<line {bar} y2="{self._py(y + errors[n]):.1f}" stroke="{color}"/>')
            fill = "white" if is_open else color
            at = f'cx="{self._px(x):.1f}" cy="{self._py(y):.1f}"'
            self._parts.append(f'<circle {at} r="3.2" fill="{fill}" stroke="{color}" stroke-width="1.4"/>')
        self._name(color, label)

    def note(self, x: float, y: float, text: str, *, anchor: str = "start") -> None:
        """Write a text, which begins, or ends, beside a point."""
        aside = {"start": 6, "middle": 0, "end": -6}[anchor]
        self._parts.append(_text(self._px(x) + aside, self._py(y) - 5, text, anchor=anchor))

    def level(self, y: float, color: str, label: str = "") -> None:
        """Draw a dashed line across."""
        at = f'x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{self._py(y):.1f}" y2="{self._py(y):.1f}"'
        self._parts.append(f'<line {at} stroke="{color}" stroke-dasharray="5 4"/>')
        self._name(color, label)

    def mark(self, x: float, color: str, label: str) -> None:
        """Draw a line from top to bottom."""
        at = f'x1="{self._px(x):.1f}" x2="{self._px(x):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"'
        self._parts.append(f'<line {at} stroke="{color}" stroke-width="1.5"/>')
        self._name(color, label)

    def shade(self, start: float, end: float, color: str, label: str = "") -> None:
        """Colour the background of a stretch."""
        left, right = self._px(start), self._px(end)
        at = f'x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{_HEIGHT - _TOP - _BOTTOM}"'
        self._parts.append(f'<rect {at} fill="{color}" fill-opacity="0.15"/>')
        self._name(color, label)

    def svg(self, top: int) -> str:
        """Return it, so far below the top of the picture."""
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = [f'<g transform="translate(0 {top})">', _text(_LEFT, 16, self._title, weight="bold")]
        for y in _ticks(*self._y):
            at = f"{self._py(y):.1f}"
            parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}" stroke="#dddddd"/>')
            parts.append(_text(_LEFT - 6, self._py(y) + 4, f"{y:g}", anchor="end"))
        named = [(x, f"{x:,g}") for x in _ticks(*self._x)] if not self._names else enumerate(self._names, 1)
        parts += [_text(self._px(x), bottom + 15, name, anchor="middle") for x, name in named]
        parts += [*self._parts, _text(right, bottom + 28, self._x_label, anchor="end")]
        at = float(right)
        for color, label in reversed(self._legend):
            at -= 7.0 * len(label)
            parts += [_text(at, 30, label), f'<rect x="{at - 16:.1f}" y="22" width="11" height="8" fill="{color}"/>']
            at -= 28
        return "\n".join([*parts, "</g>"])

    def _name(self, color: str, label: str) -> None:
        if label and (color, label) not in self._legend:
            self._legend.append((color, label))

    def _px(self, x: float) -> float:
        low, high = self._x
        return _LEFT + (x - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def _py(self, y: float) -> float:
        low, high = self._y
        share = min(max((y - low) / (high - low), 0.0), 1.0)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def write(path: Path, panels: Sequence[Panel]) -> None:
    """Write panels below each other as one picture."""
    height = len(panels) * (_HEIGHT + 10)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">'
    body = [panel.svg(i * (_HEIGHT + 10)) for i, panel in enumerate(panels)]
    background = f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([head, background, *body, "</svg>\n"]), encoding="utf-8")


def _thinned(xs: Series, ys: Series) -> list[tuple[float, float]]:
    places = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), _MOST_POINTS)).astype(int))
    return [(float(xs[i]), float(ys[i])) for i in places]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough)
    return [round(k * step, 10) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    style = f'font-size="12" font-weight="{weight}" text-anchor="{anchor}" fill="#333333"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
