"""What pages are made with."""

import json
import sys
from pathlib import Path

import pytest

from tensor_optix.errors import CheckpointStorageError, MissingDependencyError
from tensor_optix.report.rendering import finite, island, plain, plotly_js, rendered, write


def test_data_cannot_end_the_element_it_stands_in() -> None:
    text = island({"a": "</script><!-- & -->", "b": [float("nan"), 1.0, (float("inf"),)]})
    assert not {"<", ">", "&"} & {*text}
    assert json.loads(text) == {"a": "</script><!-- & -->", "b": [None, 1.0, [None]]}


@pytest.mark.parametrize(
    ("value", "text"), [("as it is", "as it is"), ({"a": 1}, '{"a": 1}'), (float("nan"), "null"), (Path("p"), '"p"')]
)
def test_a_value_of_a_file_is_text(value: object, text: str) -> None:
    assert plain(value) == text


def test_only_what_is_not_finite_becomes_nothing() -> None:
    assert finite({1: float("-inf"), "x": [0.5, True, None]}) == {"1": None, "x": [0.5, True, None]}


@pytest.mark.parametrize("module", ["jinja2", "plotly.offline"])
def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    plotly_js.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingDependencyError, match=r"a report needs \w+, which.*pip install 'tensor-optix-core\[report\]'"
    ):
        rendered("page.html.jinja", [], title="x")


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointStorageError, match=r"page\.html"):
        write("x", tmp_path / "file" / "page.html")
