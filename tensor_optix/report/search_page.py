"""The page of a search: who beats the preset, how the search compares with random search, and all trials."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tensor_optix.report.curves import HELD_OUT, TRAINING, Figure, Trace, short
from tensor_optix.report.rendering import plain, rendered, write

if TYPE_CHECKING:
    from tensor_optix.multirun.search_result import Ahead, FinalistResult, RandomSearchResult, SearchResult, TrialResult

_METHOD = (
    "Each trial is trained with several seeds, one after the other, for the same budget of steps and without tuning "
    "during the run. Its score is the mean return of its best policies on episodes that are the same for all trials. A "
    "trial is pruned where the Wilcoxon signed-rank test says that it is worse than the best one on the episodes that "
    "both have played, or where a run has stood still below the median of earlier trials. Every second trial is drawn "
    "at random: these are random search. The finalists are trained with fresh seeds, which no trial had, and play the "
    "same fresh episodes. By how much one is ahead is the mean difference, seed by seed; its interval holds for all "
    "finalists at once (95%, by Bonferroni). The preset stays unless the interval of a finalist is above 0."
)


def write_search_page(result: "SearchResult", title: str, to: Path) -> Path:
    """Write the page of a search, and return where it is.

    Args:
        result: what it came to, as `result.json` has it.
        title: of the page.
        to: the file to write.

    Raises:
        MissingDependencyError: jinja2 or plotly is not installed; the message has the install line.
        CheckpointStorageError: the file cannot be written.
    """
    return write(search_page(result, title), to)


def search_page(result: "SearchResult", title: str) -> str:
    """Return the page of a search; see `write_search_page`."""
    figure, counts, names = _progress(result["trials"]), result["counts"], list(result["values"])
    return rendered(
        "search.html.jinja",
        [figure],
        title=title,
        subtitle=f"{len(result['trials'])} trials: " + ", ".join(f"{n} {state}" for state, n in counts.items() if n),
        verdict=_verdict(result),
        is_preset=result["is_preset"],
        random=_random(result["random"]),
        finalists=[_finalist(one, names) for one in result["finalists"]],
        names=names,
        figure=figure,
        trials=[_trial(one, names) for one in result["trials"]],
        method=_METHOD,
    )


def _verdict(result: "SearchResult") -> str:
    if result["is_preset"]:
        return "The preset stays: no trial has beaten it with fresh seeds."
    return f"{result['best']} beats the preset with fresh seeds. best.yaml has its values."


def _random(random: "RandomSearchResult | None") -> str:
    if random is None:
        return "The search and random search cannot be compared: one of them has no trial after equal steps."
    return (
        f"After {random['steps']:,} steps each, the best of the search ({random['search']}) is ahead of the best of "
        f"random search ({random['random']}) by {_ahead(random['ahead'])} with fresh seeds."
    )


def _ahead(ahead: "Ahead | None") -> str:
    if ahead is None:
        return "-"
    low, high = ahead["interval"]["low"], ahead["interval"]["high"]
    return f"{short(ahead['mean'])} [{short(low)}, {short(high)}]"


def _finalist(one: "FinalistResult", names: Sequence[str]) -> list[str]:
    return [one["name"], one["drawn"], short(one["score"]), _ahead(one["ahead"]), *_values(one["values"], names)]


def _trial(one: "TrialResult", names: Sequence[str]) -> list[str]:
    about = [one["name"], one["drawn"], one["state"], short(one["score"]), str(one["seeds"]), f"{one['steps']:,}"]
    return [*about, *_values(one["values"], names)]


def _values(values: Mapping[str, object], names: Sequence[str]) -> list[str]:
    found = (values.get(name) for name in names)
    return [short(value) if isinstance(value, float) else plain(value) for value in found]


def _progress(trials: "Sequence[TrialResult]") -> Figure:
    """Return the best score so far against training steps, of the search and of random search."""
    traces, rows = list[Trace](), list[tuple[str, str]]()
    for name, colour, own in (
        ("search", HELD_OUT, [one for one in trials if one["drawn"] != "random"]),
        ("random search", TRAINING, [one for one in trials if one["drawn"] == "random"]),
    ):
        steps, best, xs, ys = 0, None, list[int](), list[float]()
        for one in own:
            steps += one["steps"]
            if one["score"] is not None:
                best = one["score"] if best is None else max(best, one["score"])
                xs.append(steps)
                ys.append(best)
        if xs:
            mode = {"mode": "lines+markers", "line": {"color": colour, "width": 1.5, "shape": "hv"}}
            traces.append({"type": "scatter", "name": name, "x": xs, "y": ys, **mode})
            rows.append((name, f"{short(ys[-1])} after {xs[-1]:,} steps"))
    return Figure(
        key="progress",
        title="Best score so far",
        sentence="The highest score of a trial by the training steps of all trials until then. What stands here was "
        "chosen, and is too high; the finalists above were trained with fresh seeds.",
        traces=traces,
        layout={"height": 320, "keeps_x": True, "xaxis": {"title": {"text": "training steps"}}},
        rows=tuple(rows),
    )
