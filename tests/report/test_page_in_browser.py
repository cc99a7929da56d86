"""The page as a browser shows it: drawn, without an error, without a request."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tensor_optix.report.comparison import Comparison
from tensor_optix.report.comparison_page import write_comparison
from tensor_optix.report.page import write_page
from tests.fakes.compared_runs import write_compared
from tests.fakes.run_folders import write_run

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")
NASTY = "</script><img src=x onerror=alert(1)><b>javascript:alert(2)</b>\u202e"
DARK = "--blink-settings=preferredColorScheme=0"


def rendered(page: Path, *options: str) -> tuple[str, str]:
    """Return the document after its scripts have run, and what was written to the console."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    command += ["--virtual-time-budget=10000", "--dump-dom", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)  # noqa: S603 - our own page
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "options", [("--window-size=1280,900",), ("--window-size=390,900", DARK)], ids=["light", "dark phone"]
)
def test_each_figure_is_drawn_and_the_console_is_empty(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert drawn_in(write_page(write_run(tmp_path / "run", NASTY)), *options) >= {"curve", "tests", "time", "length"}


@pytest.mark.timeout(600)
def test_a_comparison_is_drawn_and_its_tables_can_be_sorted(tmp_path: Path) -> None:
    algorithms = (NASTY, "ppo")
    runs = [write_compared(tmp_path / str(n), 1.0 * n, algorithm=algorithms[n % 2]) for n in range(4)]
    page = write_comparison(Comparison.read(runs), tmp_path / "compare.html", np.random.default_rng(0))
    assert drawn_in(page) == {"scores-0", "curves-0", "improvement", "profile"}


def drawn_in(page: Path, *options: str) -> set[str]:
    """Return the figures of a page, each of which must be drawn, after the rest was looked at."""
    document, console = rendered(page, *options)
    assert console == ""
    assert "<img" not in document
    assert 'class="still"' in page.read_text()
    assert 'class="still"' not in document  # what stood there before is gone
    _, *figures = re.split(r'<div class="plot js-plotly-plot" id="', document)
    drawn = {figure.partition('"')[0]: "<path" in figure for figure in figures}
    assert all(drawn.values()), drawn
    return {*drawn}
