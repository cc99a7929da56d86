"""`tensor-optix compare`: a page for people, numbers for scripts."""

import json
import sys
from pathlib import Path

import pytest

from tensor_optix.cli import main
from tensor_optix.report import rendering
from tests.fakes.compared_runs import write_several


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [str(run) for run in write_several(tmp_path / "runs")]


def test_it_writes_a_page_here_and_prints_where(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *runs]) == 0
    assert capsys.readouterr().out == "compare.html\n"
    assert "Comparison of runs" in (tmp_path / "compare.html").read_text()


def test_it_prints_numbers_for_scripts(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *runs, str(tmp_path / "absent"), "--json", "--group-by", "learning_rate"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [one["group"] for one in found["groups"]] == ["learning_rate=0.001", "learning_rate=0.101"]
    assert len(found["runs"]) == len(runs)
    assert found["refused"].keys() == {str(tmp_path / "absent")}
    assert "is no folder" in printed.err
    assert not (tmp_path / "compare.html").exists()


def test_numbers_and_a_page_go_together(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "both.html"
    assert main(["compare", *runs, "--json", "--output", str(page)]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1
    assert page.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "is no folder"),
        (["--group-by", "learning_rat"], "Did you mean 'learning_rate'"),
        (["--output", "/dev/null/all.html"], "all.html"),
    ],
)
def test_bad_input_is_one_sentence(
    runs: list[str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *(runs if arguments else ["/absent"]), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_scipy_the_message_has_the_install_line(
    runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    assert main(["compare", *runs, "--json"]) == 2
    assert "pip install 'tensor-optix-core[compare]'" in capsys.readouterr().err
