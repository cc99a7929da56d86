"""The page of a search."""

import json
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.report import rendering
from tensor_optix.report.search_page import search_page, write_search_page
from tests.fakes.pages import NASTY, Elements, shown


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without the five megabytes that draw the figures."""
    monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")


AHEAD = {"mean": 2.0, "interval": {"low": 1.0, "high": 3.0}}


def result(**changes: Any) -> dict[str, Any]:
    def trial(name: str, drawn: str, score: float | None, rate: Any) -> dict[str, Any]:
        state = "pruned" if score is None else "complete"
        about = {"name": name, "drawn": drawn, "state": state, "score": score, "seeds": 2, "steps": 1000}
        return {**about, "values": {"learning_rate": rate}}

    finalist = {"name": "trial-2", "drawn": "search", "score": 4.0, "ahead": AHEAD, "values": {"learning_rate": 0.01}}
    return {
        "best": "trial-2",
        "is_preset": False,
        "values": {"learning_rate": 0.01},
        "finalists": [{**finalist, "name": "preset", "ahead": None}, finalist],
        "random": {"search": "trial-2", "random": "trial-1", "steps": 1000, "ahead": AHEAD},
        "counts": {"complete": 3, "pruned": 1, "failed": 0},
        "trials": [
            trial("preset", "preset", 1.0, 0.001),
            trial("trial-1", "random", 2.0, 0.002),
            trial("trial-2", "search", 3.0, 0.01),
            trial("trial-3", "random", None, "x"),
        ],
        **changes,
    }


def test_the_page_says_who_beats_the_preset_and_random_search() -> None:
    page = search_page(result(), "A search")
    text = shown(page)
    assert "4 trials: 3 complete, 1 pruned" in text
    assert "trial-2 beats the preset with fresh seeds" in text
    assert "After 1,000 steps each" in text
    assert "2 [1, 3]" in text
    assert "3 after 2,000 steps" in text
    (island,) = [script for script in Elements(page).scripts if script.startswith("{")]
    traces = json.loads(island)["progress"]["data"]
    assert [(one["x"], one["y"]) for one in traces] == [([1000, 2000], [1.0, 3.0]), ([1000], [2.0])]


def test_the_preset_may_stay_and_there_may_be_nothing_to_compare() -> None:
    text = shown(search_page(result(is_preset=True, best="preset", random=None, trials=[]), "A search"))
    assert "The preset stays" in text
    assert "cannot be compared" in text


def test_no_text_of_a_search_becomes_markup_and_it_is_written(tmp_path: Path) -> None:
    plain = Elements(search_page(result(), "A search")).found
    nasty = result(best=NASTY, values={NASTY: 1})
    assert Elements(search_page(nasty, NASTY)).found == plain
    path = write_search_page(nasty, NASTY, tmp_path / "tune.html")
    assert path.read_text().startswith("<!doctype html>")
