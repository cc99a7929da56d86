"""The page of a comparison: whole without a network, and no text of a run becomes markup."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_optix.report import rendering
from tensor_optix.report.comparison import Comparison
from tensor_optix.report.comparison_page import comparison_page, write_comparison
from tests.fakes.compared_runs import write_compared, write_several
from tests.fakes.pages import NASTY, Elements, shown


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without the five megabytes that draw the figures."""
    monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")


def page_of(runs: list[Path]) -> str:
    return comparison_page(Comparison.read(runs), np.random.default_rng(0))


def test_the_page_compares_runs_in_words_tables_and_figures(tmp_path: Path) -> None:
    page = page_of(write_several(tmp_path, ("A-v0", "B-v0")))
    text = shown(page)
    assert "12 runs, 2 environments, 2 groups, by algorithm" in text
    for heading in ("Groups", "Runs", "Probability of improvement", "Performance profile", "Scores on B-v0"):
        assert heading in text
    assert "120 [110, 130]" in text
    assert "hyperparams.learning_rate" in text
    (island,) = [script for script in Elements(page).scripts if script.startswith("{")]
    assert {"scores-0", "scores-2", "curves-1", "improvement", "profile"} <= json.loads(island).keys()


def test_tables_sort_by_numbers_and_not_by_their_digits(tmp_path: Path) -> None:
    page = page_of([write_compared(tmp_path / "a", 1234.5)])
    assert 'data-sort="1234.5"' in page
    assert page.count('<table class="sortable">') == 2


def test_what_makes_the_numbers_weak_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    runs = [write_compared(tmp_path / "a", 1.0), write_compared(tmp_path / "b", 1.0, ended=False), tmp_path / "empty"]
    (runs[0] / "windows.jsonl").write_text("{\n")
    (runs[1] / "run.json").write_text('{"env": "A-v0", "algorithm": "ppo", "version": "99.0"}')
    text = shown(page_of(runs))
    assert "holds no run" in text
    assert "1 damaged in windows.jsonl" in text
    assert "written by tensor-optix 99.0" in text
    assert "1 run not ended yet" in text
    assert "fewer than 5 runs" in text


def test_one_run_alone_has_a_page(tmp_path: Path) -> None:
    text = shown(page_of([write_compared(tmp_path / "a", 1.0)]))
    assert "1 run, 1 environment, 1 group" in text
    assert "Differences of configuration None, seeds aside." in text


def nasty_runs(folder: Path, text: str) -> list[Path]:
    described = {"env": text, "hyperparams": {text: 1.0}, "note": text}
    return [
        write_compared(folder / "a", 1.0, **{**described, "algorithm": f"{text} one"}),
        write_compared(folder / "b", 2.0, **{**described, "algorithm": f"{text} other", "note": f"{text} other"}),
    ]


def test_no_text_of_a_run_becomes_markup(tmp_path: Path) -> None:
    harmless = Elements(page_of(nasty_runs(tmp_path / "x", "harmless")))
    page = page_of(nasty_runs(tmp_path / "y", NASTY))
    nasty = Elements(page)
    assert nasty.found == harmless.found
    assert str(7123 * 7919) not in "".join(nasty.text)
    assert not {"\x1b", "\u202e"} & {*page}


@settings(max_examples=8, deadline=None)
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=60))
def test_whatever_the_text_the_elements_are_the_same(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")
        folder = tmp_path_factory.mktemp("text")
        harmless = Elements(page_of(nasty_runs(folder / "x", "harmless")))
        assert Elements(page_of(nasty_runs(folder / "y", text))).found == harmless.found


def test_only_its_own_scripts_may_run(tmp_path: Path) -> None:
    page = page_of([write_compared(tmp_path / "a", 1.0)])
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found is not None
    assert "default-src 'none'" in found.group(1).replace("&#39;", "'")
    assert not re.search(r"<(?:link|iframe|object|embed|base)\b|\bsrc=", page)


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    comparison = Comparison.read([write_compared(tmp_path / "a", 1.0)])
    to = tmp_path / "page.html"
    assert write_comparison(comparison, to, np.random.default_rng(0)) == to
    assert "<h1>Comparison of runs</h1>" in to.read_text()
