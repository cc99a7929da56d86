import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from examples import _svg
from examples.market import pictures
from examples.market.watch import Watched

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_the_same_seeds_draw_the_same_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("once", "again"):
        pictures.main(["--only", "forecasting", "--seeds", "1", "--windows", "4", "--folder", str(tmp_path / folder)])
    once, again = ((tmp_path / folder / "forecast.svg").read_bytes() for folder in ("once", "again"))
    assert once == again
    assert "over 1 seeds" in capsys.readouterr().out


def test_a_run_on_watch_is_drawn_as_far_as_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report: Any = SimpleNamespace(watch={"promotions": 1})
    run = Watched(report, dict.fromkeys(range(12), 0.1), {8: 0.3, 9: 0.4}, [3, 7], [5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures.watch, "watch", lambda **options: run)
        pictures.main(["--only", "watch", "--seeds", "1", "--windows", "12", "--folder", str(tmp_path)])
    drawn = ElementTree.parse(tmp_path / "watch.svg").getroot()  # noqa: S314 - our own
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert {"learning", "market changes", "awake", "trial", "promoted", "acting policy", "challenger"} <= set(texts)
    assert "asleep [3, 7], awake [5]" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["market.md", "forecast.md", "live.md"])
def test_the_pictures_of_the_pages_are_there_and_small(page: str) -> None:
    found = re.findall(r"!\[.+\]\((.+)\)", (DOCS / page).read_text(encoding="utf-8"))
    assert found
    for name in found:
        assert (DOCS / name).stat().st_size < 100_000
        assert ElementTree.parse(DOCS / name).getroot().tag.endswith("svg")  # noqa: S314 - our own


def test_a_chart_shows_what_it_is_given(tmp_path: Path) -> None:
    panel = _svg.Panel("a < b", (0, 10), (0, 1), "x")
    panel.line([0, 10], [0, 1], _svg.BLUE, "rising")
    panel.line(np.arange(5000) / 500, np.full(5000, 7.0), _svg.GREY)
    panel.shade(2, 4, _svg.RED, "here")
    _svg.write(tmp_path / "chart.svg", [panel, panel])
    root = ElementTree.parse(tmp_path / "chart.svg").getroot()  # noqa: S314 - our own
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts.count("a < b") == texts.count("rising") == texts.count("here") == 2
    rising, level = [e.attrib["points"].split() for e in root.iter() if e.tag.endswith("polyline")][:2]
    assert len(rising) == 2
    assert len(level) == 400
    assert {point.split(",")[1] for point in level} == {"34.0"}  # what is beyond the axis is drawn at its end
