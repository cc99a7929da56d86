"""The page of a comparison: many runs in one HTML file that needs no network."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensor_optix.report.comparison import ComparedRun, Comparison
from tensor_optix.report.comparison_figures import (
    curve_figures,
    estimate_text,
    improvement_figure,
    profile_figure,
    score_figures,
)
from tensor_optix.report.comparison_results import Results
from tensor_optix.report.curves import short
from tensor_optix.report.page import notes_of
from tensor_optix.report.rendering import rendered, write
from tensor_optix.report.statistics import Estimate

PAGE = "compare.html"
FEW = 5
"""With fewer runs in a group, intervals are too narrow to rely on."""
_HEADS = ("Run", "Environment", "Group", "Seed", "Best score", "Confirmed", "Steps", "Best at step", "Time", "End")
_METHOD = (
    "The score of a run is that of its best policy, on fresh episodes where it is confirmed. The interquartile mean is "
    "the mean of the middle half of the scores. Intervals are percentiles of 2,000 bootstrap samples, in which the "
    "runs of each environment and group are drawn anew. The probability of improvement counts pairs of runs, a tie as "
    "half. Normalised scores are 0 for the untrained policy of the environment, or else its worst run, and 1 for its "
    "best run. Source: Deep Reinforcement Learning at the Edge of the Statistical Precipice (Agarwal et al., 2021)."
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in a table."""

    text: str
    sort: str | None = None
    """By what the column is sorted, where it is not the text; empty for what is not known."""


def write_comparison(comparison: Comparison, to: Path, rng: np.random.Generator) -> Path:
    """Write the page of a comparison, and return where it is.

    Args:
        comparison: the runs.
        to: the file to write.
        rng: draws the bootstrap samples.

    Raises:
        MissingDependencyError: jinja2, plotly or scipy is not installed; the message has the install line.
        CheckpointStorageError: the file cannot be written.
    """
    return write(comparison_page(comparison, rng), to)


def comparison_page(comparison: Comparison, rng: np.random.Generator) -> str:
    """Return the page of a comparison; see `write_comparison`."""
    results = Results.of(comparison, rng)
    others = (improvement_figure(results), profile_figure(comparison, results))
    figures = [
        *score_figures(comparison, results),
        *curve_figures(comparison, rng),
        *(figure for figure in others if figure is not None),
    ]
    runs, environments, groups = (len(one) for one in (comparison.runs, comparison.environments, comparison.groups))
    counts = ", ".join(_count(n, what) for n, what in ((runs, "run"), (environments, "environment"), (groups, "group")))
    return rendered(
        "comparison.html.jinja",
        figures,
        title="Comparison of runs",
        subtitle=f"{counts}, by {', '.join(comparison.group_by)}",
        notes=_notes(comparison),
        about_groups="Best scores of the runs of each group.",
        groups=[
            _group_row(one.environment, one.group, one.runs, one.score) for one in (*results.overall, *results.groups)
        ],
        figures_in_order=figures,
        run_heads=_HEADS,
        runs=[_run_row(run) for run in comparison.runs],
        differences=comparison.differences(),
        group_names=comparison.groups,
        method=_METHOD,
    )


def _notes(comparison: Comparison) -> list[str]:
    """Return what was left out, and what makes the numbers weak."""
    found = list(comparison.refused.values())
    found += [f"{run.name}: {note}" for run in comparison.runs for note in notes_of(run.data)]
    running = sum(run.end == "running" for run in comparison.runs)
    if running:
        found.append(f"{_count(running, 'run')} not ended yet: what was reached so far is compared.")
    sizes = [len(comparison.of(name, group)) for name in comparison.environments for group in comparison.groups]
    if min((size for size in sizes if size), default=FEW) < FEW:
        found.append(
            f"Some groups have fewer than {FEW} runs: their intervals are too narrow, and with one run there is none."
        )
    return found


def _group_row(environment: str, group: str, runs: int, score: Estimate) -> list[Cell]:
    value, _, interval = estimate_text(score).partition("  ")
    return [
        Cell(text=environment),
        Cell(text=group),
        Cell(text=str(runs)),
        Cell(text=value, sort=repr(score.value)),
        Cell(text=interval or "-", sort="" if score.low is None else repr(score.low)),
    ]


def _run_row(run: ComparedRun) -> list[Cell]:
    found = run.best_steps
    return [
        Cell(text=run.name),
        Cell(text=run.environment),
        Cell(text=run.group),
        Cell(text=run.seed),
        Cell(text=short(run.score), sort=_key(run.score)),
        Cell(text="yes" if run.is_confirmed else "no"),
        Cell(text=f"{run.steps:,}", sort=str(run.steps)),
        Cell(text="-" if found is None else f"{found:,}", sort="" if found is None else str(found)),
        Cell(text=f"{run.seconds:,.0f} s" if math.isfinite(run.seconds) else "-", sort=_key(run.seconds)),
        Cell(text=run.end),
    ]


def _key(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
