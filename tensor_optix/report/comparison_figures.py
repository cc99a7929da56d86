"""The figures of a comparison: learning curves, aggregates, who beats whom, and how scores are distributed."""

from collections.abc import Sequence

import numpy as np

from tensor_optix.report.comparison import ComparedRun, Comparison
from tensor_optix.report.comparison_results import GroupResult, Results
from tensor_optix.report.curves import BEST, HELD_OUT, OTHER, TRAINING, Figure, Trace, short
from tensor_optix.report.statistics import Band, Estimate, curve_band
from tensor_optix.report.words import in_figure, visible

POINTS = 120
"""Of a curve."""
COLOURS = (HELD_OUT, TRAINING, BEST, OTHER, "#56B4E9", "#8C6D00", "#7F7F7F")
"""Of the groups, in their order; those that follow are dashed."""
DASHES = ("solid", "dash", "dot", "dashdot")
MOST_PAIRS = 30
"""Pairs of groups that are drawn."""
Style = dict[str, tuple[str, str]]
"""By group, colour and dash."""


def styles(groups: Sequence[str]) -> Style:
    """Return how each group is drawn, the same in each figure."""
    size = len(COLOURS)
    return {group: (COLOURS[i % size], DASHES[i // size % len(DASHES)]) for i, group in enumerate(groups)}


def curve_figures(comparison: Comparison, rng: np.random.Generator) -> list[Figure]:
    """Return the learning curves of each environment.

    Args:
        comparison: the runs.
        rng: draws the bootstrap samples.
    """
    style = styles(comparison.groups)
    found = [_curves(comparison, i, name, style, rng) for i, name in enumerate(comparison.environments)]
    return [figure for figure in found if figure is not None]


def _curves(
    comparison: Comparison, number: int, environment: str, style: Style, rng: np.random.Generator
) -> Figure | None:
    runs = {group: [run for run in comparison.of(environment, group) if run.curve()] for group in comparison.groups}
    most = max((run.curve()[-1][0] for own in runs.values() for run in own), default=0)
    traces: list[Trace] = []
    rows: list[tuple[str, str]] = []
    for group, own in runs.items():
        if not own:
            continue
        steps = np.linspace(max(run.curve()[0][0] for run in own), most, POINTS)
        band = curve_band(np.stack([_at(run, steps) for run in own]), rng)
        traces += _band_traces(group, steps, band, style[group])
        rows.append((visible(group), f"{short(float(band.values[-1]))} at the end, of {_runs(len(own))}"))
    if not traces:
        return None
    return Figure(
        key=f"curves-{number}",
        title=f"Scores on {visible(environment)}",
        sentence="Interquartile mean of the runs of each group, with a 95% bootstrap band over runs. A run that has "
        "ended keeps its last score.",
        traces=traces,
        layout={"keeps_x": True, "yaxis": {"title": {"text": "score"}}},
        rows=tuple(rows),
    )


def _at(run: ComparedRun, steps: np.ndarray) -> np.ndarray:
    """Return the last score of a run by each number of steps."""
    at, scores = (np.array(values, float) for values in zip(*run.curve(), strict=True))
    return scores[np.clip(np.searchsorted(at, steps, side="right") - 1, 0, None)]


def _band_traces(group: str, x: np.ndarray, band: Band, style: tuple[str, str]) -> list[Trace]:
    colour, dash = style
    name = in_figure(group)
    traces: list[Trace] = []
    if band.low is not None and band.high is not None:
        traces.append(
            {
                "type": "scatter",
                "x": [*x.tolist(), *x[::-1].tolist()],
                "y": [*band.high.tolist(), *band.low[::-1].tolist()],
                "fill": "toself",
                "fillcolor": _faint(colour),
                "line": {"width": 0},
                "mode": "lines",
                "hoverinfo": "skip",
                "showlegend": False,
                "legendgroup": name,
            }
        )
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x.tolist(),
            "y": band.values.tolist(),
            "line": {"color": colour, "dash": dash, "width": 2},
            "legendgroup": name,
        }
    )
    return traces


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"


def score_figures(comparison: Comparison, results: Results) -> list[Figure]:
    """Return the aggregates of each environment with several groups, and those over all of them."""
    named = [
        (f"Best scores on {visible(name)}", "score", [one for one in results.groups if one.environment == name])
        for name in comparison.environments
    ]
    if results.overall:
        named.insert(0, ("Best scores over all environments", "normalised score", list(results.overall)))
    style = styles(comparison.groups)
    return [_scores(f"scores-{i}", *one, style) for i, one in enumerate(named) if len(one[2]) > 1]


def _scores(key: str, title: str, unit: str, groups: Sequence[GroupResult], style: Style) -> Figure:
    return Figure(
        key=key,
        title=title,
        sentence="Interquartile mean of the runs' best scores, with its 95% interval by the stratified bootstrap.",
        traces=[_interval(one.group, one.group, one.score, style[one.group][0]) for one in groups],
        layout={
            "height": 110 + 32 * len(groups),
            "showlegend": False,
            "keeps_x": True,
            "xaxis": {"title": {"text": unit}},
            "yaxis": {"type": "category", "automargin": True, "dtick": 1, "autorange": "reversed"},
        },
        rows=tuple((f"{visible(one.group)} ({_runs(one.runs)})", estimate_text(one.score)) for one in groups),
    )


def _interval(label: str, name: str, found: Estimate, colour: str) -> Trace:
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": in_figure(name),
        "x": [found.value],
        "y": [in_figure(label)],
        "marker": {"color": colour, "size": 10, "symbol": "diamond"},
    }
    if found.low is not None and found.high is not None:
        arms = {"array": [found.high - found.value], "arrayminus": [found.value - found.low]}
        trace["error_x"] = {"type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 6, **arms}
    return trace


def improvement_figure(results: Results) -> Figure | None:
    """Return who beats whom; None where there is one group."""
    pairs = results.improvements[:MOST_PAIRS]
    if not pairs:
        return None
    labels = [f"{one.better} beats {one.worse}" for one in pairs]
    return Figure(
        key="improvement",
        title="Probability of improvement",
        sentence="How likely a run of the one group is to beat a run of the other, averaged over the environments that "
        "both have. At 50% they are alike; an interval that holds 50% leaves it open.",
        traces=[_interval(label, label, one.probability, HELD_OUT) for label, one in zip(labels, pairs, strict=True)],
        layout={
            "height": 110 + 32 * len(pairs),
            "showlegend": False,
            "keeps_x": True,
            "xaxis": {"title": {"text": "probability"}, "range": [-0.05, 1.05], "tickformat": ".0%"},
            "yaxis": {"type": "category", "automargin": True, "dtick": 1, "autorange": "reversed"},
            "shapes": [_middle()],
        },
        rows=tuple(
            (visible(label), estimate_text(one.probability, ".0%")) for label, one in zip(labels, pairs, strict=True)
        ),
    )


def _middle() -> Trace:
    line = {"color": "#7F7F7F", "dash": "dash", "width": 1}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1, "line": line}


def profile_figure(comparison: Comparison, results: Results) -> Figure | None:
    """Return how the scores of each group are distributed; None where there are none."""
    if not results.profiles:
        return None
    style = styles(comparison.groups)
    several = len(comparison.environments) > 1
    return Figure(
        key="profile",
        title="Performance profile",
        sentence="Share of the runs whose best score is better than the value below. A curve that is above another "
        "everywhere belongs to the better group.",
        traces=[
            trace
            for one in results.profiles
            for trace in _band_traces(one.group, one.thresholds, one.band, style[one.group])
        ],
        layout={
            "keeps_x": True,
            "xaxis": {"title": {"text": "normalised score" if several else "score"}},
            "yaxis": {"title": {"text": "share of runs"}, "range": [-0.02, 1.02], "tickformat": ".0%"},
        },
        rows=tuple(
            (visible(one.group), f"half of its runs are better than {short(_median(one.thresholds, one.band))}")
            for one in results.profiles
        ),
    )


def _median(thresholds: np.ndarray, band: Band) -> float:
    """Return the largest threshold that half of the runs pass."""
    return float(thresholds[np.flatnonzero(band.values >= 0.5)[-1]])


def estimate_text(found: Estimate, form: str = "") -> str:
    """Return `value  [low, high]`, or the value alone where no interval is known.

    Args:
        found: the numbers.
        form: how each is written; empty for four digits.
    """

    def text(value: float) -> str:
        return format(value, form) if form else short(value)

    if found.low is None or found.high is None:
        return text(found.value)
    return f"{text(found.value)}  [{text(found.low)}, {text(found.high)}]"


def _runs(number: int) -> str:
    return f"{number} run{'s' * (number != 1)}"
