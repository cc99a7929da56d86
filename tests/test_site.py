"""The site: its table of contents names every page, its reference every public name, and texts are rewritten right."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tensor_optix

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.glob("**/*.md")} - {"index"}

_SPEC = importlib.util.spec_from_file_location("site_text", DOCS / "site_text.py")
assert _SPEC is not None
assert _SPEC.loader is not None
site_text = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(site_text)


def contents(page: Path) -> list[str]:
    """The entries of a page's tables of contents, by their names in docs/."""
    tables = re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    folder = page.parent.relative_to(DOCS)
    return [str(folder / line) for table in tables for line in table.splitlines() if line and not line.startswith(":")]


def test_the_table_of_contents_names_each_page_once() -> None:
    named = [*contents(DOCS / "index.md"), *contents(DOCS / "api/index.md")]
    missing, twice = PAGES - {*named}, {name for name in named if named.count(name) > 1}
    assert not missing, f"add to a toctree in docs/index.md (a page of the reference: docs/api/index.md): {missing}"
    assert not twice, f"leave in one toctree only: {twice}"
    assert {*named} <= PAGES, f"remove from the toctree, there is no such page: { ({*named} - PAGES) }"


def test_the_reference_has_each_public_name_once() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("api/*.md"))
    named = re.findall(r"^\.\. auto(?:class|function|exception):: (?:tensor_optix\.)?(\w+)$", text, re.MULTILINE)
    assert sorted(named) == sorted({*tensor_optix.__all__} - {"__version__"}), "see docs/api/"


def test_links_out_of_the_folder_lead_to_the_page_with_that_text() -> None:
    text = "[a](../SECURITY.md) [b](../README.md#install) [c](loop.md) [d](https://x.org/../SECURITY.md)"
    assert site_text.within_site("loop", text) == (
        "[a](security.md) [b](index.md#install) [c](loop.md) [d](https://x.org/../SECURITY.md)"
    )
    assert site_text.within_site("decisions/one", "[a](../../SECURITY.md) [b](../loop.md)") == (
        "[a](../security.md) [b](../loop.md)"
    )


def test_each_page_that_stands_for_a_file_exists() -> None:
    for file, page in site_text.ELSEWHERE.items():
        assert (ROOT / file).exists(), file
        assert page.removesuffix(".md") in PAGES | {"index"}, page


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Give `x_` back.", "Give ``x_`` back."),
        ("A *strong* word, |x|, and **kwargs.", r"A *strong* word, \|x\|, and \*\*kwargs."),
        ("a_name and name_", r"a_name and name\_"),
        ("Do:\n\n    code = 1\n\nand go on.", "Do:\n\n::\n\n    code = 1\n\nand go on."),
        ("δ = r\nA = δ", "| δ = r\n| A = δ"),
        ("It does:\n- one\n  of them;\n- two.", "It does:\n\n- one\n  of them;\n- two."),
        ("Args:\n    x: `a`.", "Args:\n    x: ``a``."),
    ],
)
def test_a_docstring_becomes_restructured_text(docstring: str, expected: str) -> None:
    assert "\n".join(site_text.docstring_to_rst(docstring.splitlines())).strip() == expected


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("EvalMetrics", "tensor_optix.EvalMetrics"),
        ("tensor_optix.core.types.EvalMetrics", "tensor_optix.EvalMetrics"),
        ("tensor_optix.core.types.Private", ""),
        ("np.ndarray", "https://numpy.org/doc/stable/reference/generated/numpy.ndarray.html"),
        ("collections.abc.Mapping", "https://docs.python.org/3/library/collections.abc.html#collections.abc.Mapping"),
        ("torch.nn.Module", ""),
        ("Any", ""),
        ("Mispelt", None),
    ],
)
def test_the_type_of_a_signature_leads_to_its_description(target: str, place: str | None) -> None:
    assert site_text.place_of(target, {"EvalMetrics"}) == place


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own pages
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()
