"""The page: whole without a network, and no text of a run becomes markup."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_optix.core.decisions.escape_records import EscapeOutcome
from tensor_optix.core.decisions.intervals import ScoreInterval
from tensor_optix.report import rendering
from tensor_optix.report.curves import MOST_POINTS
from tensor_optix.report.figures import MOST_SMALL
from tensor_optix.report.page import page_of, write_page
from tensor_optix.report.run_data import RunData
from tests.fakes.escapes import record
from tests.fakes.pages import NASTY, Elements, shown
from tests.fakes.run_folders import write_lines, write_run


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without the five megabytes that draw the figures."""
    monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(RunData.read(write_run(tmp_path_factory.mktemp("plain") / "run")))


def test_the_page_says_what_happened_and_why(plain: str) -> None:
    text = shown(plain)
    assert "Training Complete" in text
    assert "quiet for 500 of 400 steps; 7 % chance of a further rise" in text
    assert "tensor-optix evaluate" in text
    for heading in ("Score", "Episodes and health", "Last tests", "Tests of candidates", "Tuning", "Faults"):
        assert heading in text


@pytest.mark.usefixtures("small")
def test_escapes_are_told_with_what_they_changed(tmp_path: Path) -> None:
    changes = {"algorithm": ("ppo", "dqn"), NASTY: (0.01, 0.05)}
    escapes = (record("algorithm", changes=changes).ended(EscapeOutcome.KEPT, window_id=8, env_steps=900, score=9.0),)
    page = page_of(RunData.read(write_run(tmp_path / "run", escapes=escapes)))
    assert "algorithm: ppo to dqn" in shown(page)
    assert ": 0.01 to 0.05" in shown(page)
    assert NASTY not in page


def test_the_page_is_whole_and_small_enough(plain: str) -> None:
    assert len(plain.encode()) < 6_000_000
    assert not re.search(r"<(?:link|iframe|object|embed|base)\b", plain)
    own = Elements(plain)
    assert all(name != "src" for (tag, names) in own.found for name in names if tag == "script")


def test_only_its_own_scripts_may_run(plain: str) -> None:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', plain)
    assert found is not None
    policy = found.group(1).replace("&#39;", "'")
    scripts = [s for s in Elements(plain).scripts if not s.startswith("{")]
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_the_figures_travel_as_data(plain: str) -> None:
    (island,) = [script for script in Elements(plain).scripts if script.startswith("{")]
    figures: dict[str, Any] = json.loads(island)
    assert {"curve", "tests", "time", "length"} <= figures.keys()
    assert all(figure["data"] for figure in figures.values())


def test_a_run_that_goes_on_has_a_page(tmp_path: Path, small: None) -> None:
    text = shown(page_of(RunData.read(write_run(tmp_path / "run", ended=False))))
    assert "Running" in text
    assert "Best score so far" in text


def test_an_unconfirmed_best_is_called_so(tmp_path: Path, small: None) -> None:
    text = shown(page_of(RunData.read(write_run(tmp_path / "run", confirmed=False, reason="interrupted"))))
    assert "unconfirmed" in text
    assert "--confirm" in text
    assert "Training Complete" not in text


def test_a_best_that_no_command_can_confirm_has_none_on_the_page(tmp_path: Path, small: None) -> None:
    text = shown(page_of(RunData.read(write_run(tmp_path / "run", confirmed=False, is_confirmable=False))))
    assert "Confirm it in the program that made the run" in text
    assert "tensor-optix evaluate" not in text


def test_an_interval_names_its_method(tmp_path: Path, small: None) -> None:
    interval = ScoreInterval(low=8.0, high=9.5, level=0.95, method="bootstrap", episodes=100)
    text = shown(page_of(RunData.read(write_run(tmp_path / "run", best_interval=interval))))
    assert "95% bootstrap" in text
    assert "100 episodes" in text


def test_the_audit_says_what_followed_a_schedule(tmp_path: Path, small: None) -> None:
    run_dir = write_run(tmp_path / "run")
    description = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(
        json.dumps(description | {"hyperparams": {"learning_rate": "lin_1e-3", "gamma": 1}})
    )
    said = "learning_rate followed the schedule lin_1e-3, from 0.001 in the first evaluation to 0.001 in the last"
    assert said in shown(page_of(RunData.read(run_dir)))


def test_what_is_damaged_is_said(tmp_path: Path, small: None) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "windows.jsonl").write_text("{\n")
    assert "1 damaged in windows.jsonl" in shown(page_of(RunData.read(run_dir)))


def test_no_text_of_a_run_becomes_markup(tmp_path: Path, small: None) -> None:
    harmless = Elements(page_of(RunData.read(write_run(tmp_path / "a", "harmless"))))
    nasty_page = page_of(RunData.read(write_run(tmp_path / "b", NASTY)))
    nasty = Elements(nasty_page)
    assert nasty.found == harmless.found
    assert str(7123 * 7919) not in "".join(nasty.text)
    assert "\x1b" not in nasty_page
    assert "\u202e" not in nasty_page


@settings(max_examples=12)
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=60))
def test_whatever_the_text_the_elements_are_the_same(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")
        folder = tmp_path_factory.mktemp("text")
        harmless = Elements(page_of(RunData.read(write_run(folder / "a", "harmless"))))
        assert Elements(page_of(RunData.read(write_run(folder / "b", text)))).found == harmless.found


def test_it_is_written_into_the_run_or_elsewhere(tmp_path: Path, small: None) -> None:
    run_dir = write_run(tmp_path / "run")
    assert write_page(run_dir) == run_dir / "report.html"
    elsewhere = tmp_path / "pages" / "other.html"
    assert write_page(run_dir, elsewhere).read_text() == (run_dir / "report.html").read_text()


def test_a_report_that_cannot_be_read_is_no_run_that_goes_on(tmp_path: Path, small: None) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "report.json").write_text('{"reason": "from the future", "unknown": 1}')
    text = shown(page_of(RunData.read(run_dir)))
    assert "Running" not in text
    assert "its report is damaged, or of another version" in text
    assert "1 damaged in report.json" in text


def test_a_run_of_another_version_is_shown_and_says_so(tmp_path: Path, small: None) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "run.json").write_text('{"env": "CartPole-v1", "version": "99.0"}')
    text = shown(page_of(RunData.read(run_dir)))
    assert "written by tensor-optix 99.0" in text
    assert "Training Complete" in text


def test_what_only_another_version_has_hides_nothing(tmp_path: Path, small: None) -> None:
    run_dir = write_run(tmp_path / "run")
    ours = shown(page_of(RunData.read(run_dir)))
    lines = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    for line in lines:
        line["eval_metrics"]["new"] = line["new"] = 1
    (run_dir / "history.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    report = json.loads((run_dir / "report.json").read_text())
    (run_dir / "report.json").write_text(json.dumps(report | {"new": {"nested": 1}}))
    assert shown(page_of(RunData.read(run_dir))) == ours


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_command_that_checks_it_allows_the_module_of_the_environment(
    tmp_path: Path, small: None, confirmed: bool
) -> None:
    run_dir = write_run(tmp_path / "run", confirmed=confirmed, allow_module="my_env.py")
    assert f"{run_dir} --allow-module my_env.py --" in shown(page_of(RunData.read(run_dir)))


def test_the_page_of_a_long_run_is_small_enough(tmp_path: Path, small: None) -> None:
    run_dir = write_run(tmp_path / "run", windows=10_000)
    rng = np.random.default_rng(0)
    names = (
        "explained_var",
        "approx_kl",
        "clip_fraction",
        "entropy",
        "grad_norm",
        "policy_loss",
        "value_loss",
        "mean_q",
    )
    windows = [json.loads(line) for line in (run_dir / "windows.jsonl").read_text().splitlines()]
    for window in windows:
        window |= {"mean_return": rng.normal(), "mean_length": rng.normal(), "success_rate": rng.random()}
        window["diagnostics"] = dict(zip(names, rng.normal(size=len(names)).tolist(), strict=True))
    write_lines(run_dir / "windows.jsonl", windows)
    page = page_of(RunData.read(run_dir))
    assert len(page.encode()) < 500_000  # beside the 4.8 megabytes that draw, and at most 0.7 of a clip: below 6
    figures = json.loads(Elements(page).scripts[0])
    points = {key: [len(trace["x"]) for trace in figure["data"]] for key, figure in figures.items()}
    assert max(max(lengths) for key, lengths in points.items() if key != "curve") <= MOST_SMALL
    assert max(points["curve"]) <= 2 * MOST_POINTS  # a band has two edges
    assert points.keys() >= {"curve", "length", "success", "health-0"}


def test_why_environments_failed_is_a_table_the_most_frequent_reason_first(tmp_path: Path, small: None) -> None:
    failed = {"hung": {"step: no answer in 30 s": 1}, "raised": {f"step: LookupError: {NASTY}": 12}}
    text = shown(page_of(RunData.read(write_run(tmp_path / "run", failed_episodes=failed))))
    assert text.index("LookupError") < text.index("no answer in 30 s")
    assert "12" in text[text.index("LookupError") : text.index("no answer in 30 s")]
