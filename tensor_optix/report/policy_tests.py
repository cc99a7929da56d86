"""The tests of policies: candidates against the best so far, and the last tests, which choose and confirm the best."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tensor_optix.core.storage.line_log import Record
from tensor_optix.report.curves import BEST, HELD_OUT, OTHER, TRAINING, Figure, Trace, short
from tensor_optix.report.run_data import RunData, number
from tensor_optix.report.words import in_figure

MOST_TESTS = 24
"""Tests, and policies in a last test, that are drawn, the newest."""
MOST_SEEDS = 4
"""Seeds of a test that are named in the table; all of them are in `events.jsonl`."""
OUTCOMES = {"best": (BEST, "star"), "behind": (TRAINING, "circle"), "stays": (HELD_OUT, "circle"), "out": (OTHER, "x")}
"""How the outcomes of a last test are drawn."""


@dataclass(frozen=True, kw_only=True)
class ShownTest:
    """A test of one policy, in words."""

    window: str
    kind: str
    policy: str
    against: str
    seeds: str
    score: str
    other_score: str
    """Of whom it was tested against."""
    outcome: str


def tests_figure(data: RunData) -> Figure | None:
    """Return the tests of candidates against the best, both on the same episodes; None where there were none."""
    tests = [t for t in data.of_kind("test") if t.get("returns")][-MOST_TESTS:]
    if not tests:
        return None
    traces: list[Trace] = []
    alone = {"symbol": "line-ns-open", "size": 12, "line": {"width": 3}}
    for name, values_of, colour, marker in (
        ("candidate", _candidate, HELD_OUT, {"symbol": "circle", "size": 7}),
        ("best so far", _best_so_far, TRAINING, {"symbol": "diamond-open", "size": 7}),
        ("its score, where it did not play", _known_score, TRAINING, alone),
    ):
        pairs = [(value, _test_label(test)) for test in tests for value in values_of(test)]
        if pairs:
            traces.append(_marks(name, pairs, color=colour, **marker))
    won = sum(test.get("outcome") == "crowned" for test in data.of_kind("test"))
    return Figure(
        key="tests",
        title="Tests of candidates",
        sentence="Each row is a candidate and the best so far on the same fresh episodes, one mark an episode. Where "
        "little is left for tests, the candidate plays alone, against the score that the best had by then.",
        traces=traces,
        layout={
            "height": 120 + 24 * len(tests),
            "xaxis": {"title": {"text": "return"}},
            "yaxis": {"type": "category", "automargin": True, "dtick": 1},
            "keeps_x": True,
        },
        rows=(("tests", str(len(data.of_kind("test")))), ("of them won", str(won))),
    )


def _marks(name: str, pairs: Sequence[tuple[float, str]], **marker: object) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [value for value, _ in pairs],
        "y": [label for _, label in pairs],
        "marker": {**marker, "opacity": 0.7},
    }


def _candidate(test: Record) -> list[float]:
    return _numbers(test.get("returns"))


def _best_so_far(test: Record) -> list[float]:
    return _numbers(test.get("incumbent_returns"))


def _known_score(test: Record) -> list[float]:
    known = test.get("incumbent_score")
    return [] if known is None or _best_so_far(test) else [number(known)]


def _test_label(test: Record) -> str:
    return in_figure(f"window {test.get('window_id')}: {test.get('outcome')}")


def last_tests_figure(data: RunData) -> Figure | None:
    """Return the newest last tests: who raced, and who was confirmed; None where there were none."""
    told = data.of_kind("last_test")
    newest = [event for event in told if event.get("window_id") == told[-1].get("window_id")]
    shown = [(_last_label(event, one), one) for event in newest for one in _policies(event)][-MOST_TESTS:]
    if not shown:
        return None
    traces = []
    for outcome, (colour, symbol) in OUTCOMES.items():
        pairs = [
            (value, label)
            for label, one in shown
            if one.get("outcome") == outcome
            for value in _numbers(one.get("returns"))
        ]
        if pairs:
            traces.append(_marks(outcome, pairs, color=colour, symbol=symbol, size=7))
    best = [one for _, one in shown if one.get("outcome") == "best"]
    rows = [("policies tested", str(len({one.get("snapshot") for event in newest for one in _policies(event)})))]
    if best:
        rows.append(("confirmed as the best", f"policy of window {best[-1].get('found_in')}, {_score(best[-1])}"))
    return Figure(
        key="last-tests",
        title="Last tests",
        sentence="Whoever might be the best races on the same fresh episodes, and the winner is confirmed on others. "
        "One mark an episode.",
        traces=traces,
        layout={
            "height": 120 + 24 * len({label for label, _ in shown}),
            "xaxis": {"title": {"text": "return"}},
            "yaxis": {"type": "category", "automargin": True, "dtick": 1, "autorange": "reversed"},
            "keeps_x": True,
        },
        rows=tuple(rows),
    )


def _policies(event: Record) -> list[Record]:
    found = event.get("policies")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _last_label(event: Record, policy: Record) -> str:
    test = f"race {event.get('round')}" if event.get("part") == "race" else "confirmation"
    return in_figure(f"{test}: window {policy.get('found_in')}")


def rows_of_tests(data: RunData) -> list[ShownTest]:
    """Return each test in words: who, against whom, on which seeds, both scores, and the outcome."""
    return [row for event in data.of_kind("test", "retest", "last_test") for row in _rows(event)]


def _rows(event: Record) -> Iterator[ShownTest]:
    window, seeds = str(event.get("window_id")), _seeds(event.get("seeds"))
    if event.get("event") == "last_test":
        policies = _policies(event)
        for one in policies:
            others = [other for other in policies if other is not one]
            best = max(others, key=lambda other: number(other.get("score")), default=None)
            yield ShownTest(
                window=window,
                kind=f"race, round {event.get('round')}" if event.get("part") == "race" else "confirmation",
                policy=f"of window {one.get('found_in')}",
                against="-" if not others else f"{len(others)} others" if len(others) > 1 else "1 other",
                seeds=seeds,
                score=_score(one),
                other_score="-" if best is None else f"best of them {_score(best)}",
                outcome=str(one.get("outcome")),
            )
        return
    is_retest = event.get("event") == "retest"
    incumbent, against = event.get("incumbent_score"), event.get("against")
    best = "-" if against is None else f"snapshot {against}"
    yield ShownTest(
        window=window,
        kind="retest of the best" if is_retest else "candidate",
        policy=best if is_retest else f"of window {window}",
        against="-" if is_retest else best,
        seeds=seeds,
        score=_number(incumbent) if is_retest else _score(event),
        other_score="-" if is_retest else _number(incumbent),
        outcome="-" if is_retest else str(event.get("outcome")),
    )


def _seeds(seeds: object) -> str:
    if not isinstance(seeds, list) or not seeds:
        return "-"
    more = ", ..." if len(seeds) > MOST_SEEDS else ""
    return f"{len(seeds)}: {', '.join(str(seed) for seed in seeds[:MOST_SEEDS])}{more}"


def _numbers(found: object) -> list[float]:
    return [number(value) for value in found] if isinstance(found, list) else []


def _score(told: Record) -> str:
    error = told.get("std_err")
    return _number(told.get("score")) + ("" if error is None else f" ± {_number(error)}")


def _number(value: object) -> str:
    return short(number(value)) if isinstance(value, int | float) else "-"
