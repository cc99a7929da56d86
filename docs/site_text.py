"""What the site changes in texts that are also read elsewhere: links of pages, docstrings, names of types.

Pages are read on the project's page, too, where their links lead to files; docstrings are read in editors, as they are.
"""

import re
import sys
from collections.abc import Iterator, Set
from typing import Any

ELSEWHERE = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "benchmarks/results/README.md": "results.md",
    "tensor_optix/core/backoff_scheduler.py": "api/loop.md",
}
"""Files outside of this folder that pages link to, and the page that has their text."""

_NUMPY = {"numpy", "np"}
_WITHOUT_AN_ADDRESS = {"tensor_optix", "gymnasium", "gym", "spaces", "torch", "tf", "tensorflow", "keras", "rich"}
"""Whose types are text: others', and ours that are not public."""
_TEXT_ALONE = {"Any", "T", "RunKeeper", "Observation", "Action", "Memory", "Json"}
"""The last four are aliases, which annotations name as words where they stand inside of others."""

_attributes: dict[str, list[str]] = {}
"""Docstrings of attributes, by their names, while napoleon has them."""

_OUT_OF_THE_FOLDER = re.compile(r"\]\(((?:\.\./)+)([^)#\s]+)")
_SECTION = re.compile(r"^(Args|Attributes|Example|Examples|Note|Raises|Returns|Yields|Source):\s*$")
_BULLET = re.compile(r"^(?:-|\d+\.) ")
_NARROWEST = 100
"""Where the lines of the most indented docstrings had to end."""
_CODE = re.compile(r"(`[^`\n]+`)")
_MARKUP = re.compile(r"(\*\w+\*)|([*|\\]|_(?!\w))")


def within_site(page: str, text: str) -> str:
    """Return a page's text with its links out of the folder led to the pages that have their text.

    Args:
        page: the page's name without its suffix, such as `decisions/0003-no-pickle`.
        text: its Markdown.
    """
    depth = page.count("/")

    def target(link: re.Match[str]) -> str:
        levels = link[1].count("../")
        if levels <= depth or link[2] not in ELSEWHERE:
            return link[0]
        return f"]({'../' * depth}{ELSEWHERE[link[2]]}"

    return _OUT_OF_THE_FOLDER.sub(target, text)


def docstring_to_rst(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText.

    `code` is literal, and so is an indented block; a line that ended before it had to, as a formula does, stays a line.
    Sections such as `Args:` are left to napoleon, but for their code.

    Args:
        lines: the docstring's, dedented.
    """
    found: list[str] = []
    is_in_section = False
    for paragraph in _paragraphs(lines):
        first = paragraph[0]
        is_in_section = _SECTION.match(first) is not None or (is_in_section and first.startswith(" "))
        if is_in_section:
            found += map(_literal, paragraph)
        elif first.startswith(" "):
            found += ["::", "", *paragraph]
        elif any(map(_ends_early, paragraph, paragraph[1:])) and not any(map(_BULLET.match, paragraph)):
            found += [f"| {_literal(line)}" for line in paragraph]
        else:
            found += map(_literal, paragraph)
        found.append("")
    return found


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines between blank ones; a list and a section begin a paragraph of their own."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        begins = _SECTION.match(line) or (_BULLET.match(line) and not any(map(_BULLET.match, paragraph)))
        if paragraph and (begins or not line.strip()):
            yield paragraph
            paragraph = []
        if line.strip():
            paragraph.append(line)


def _ends_early(line: str, following: str) -> bool:
    """Return whether the first word of the following line would have had room."""
    return len(line) + 1 + len(following.split()[0]) <= _NARROWEST


def _literal(line: str) -> str:
    """Return a line with its code literal, and everything else without markup."""
    parts = _CODE.split(line)
    return "".join(f"`{part}`" if part.startswith("`") else _MARKUP.sub(_escaped, part) for part in parts)


def _escaped(found: re.Match[str]) -> str:
    return found[1] or f"\\{found[2]}"


def on_source_read(app: Any, page: str, source: list[str]) -> None:
    """Lead the links of a page that leave the folder (Sphinx' event `source-read`)."""
    source[0] = within_site(page, source[0])


def on_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a docstring reStructuredText (autodoc's event, before napoleon)."""
    lines[:] = docstring_to_rst(lines)
    if what in ("attribute", "property", "data"):
        _attributes[name] = [*lines]


def on_napoleon_done(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Undo what napoleon does to an attribute: it takes the words before a colon for a type (the same event, after)."""
    lines[:] = _attributes.pop(name, lines)


def place_of(target: str, public: Set[str]) -> str | None:
    """Return what a type's name leads to: a name of ours, an address, or "" where it is text alone; None: to nothing.

    Args:
        target: the name as a signature has it, such as `collections.abc.Mapping` or `EvalMetrics`.
        public: the names of ours that the reference has.
    """
    module, _, name = target.rpartition(".")
    if name in public and (not module or module.startswith("tensor_optix")):
        return f"tensor_optix.{name}"
    top = target.partition(".")[0]
    if top in _NUMPY:
        return f"https://numpy.org/doc/stable/reference/generated/numpy.{target.partition('.')[2]}.html"
    if module and top in sys.stdlib_module_names:
        return f"https://docs.python.org/3/library/{module}.html#{target}"
    return "" if (module and top in _WITHOUT_AN_ADDRESS) or target in _TEXT_ALONE or "[" in target else None


def on_missing_reference(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Lead types in signatures to where they are described, without an inventory from the network (Sphinx' event)."""
    if node.get("refdomain") != "py":
        return None
    known = env.get_domain("py").objects
    place = place_of(node["reftarget"], {name.rpartition(".")[2] for name in known if name.count(".") == 1})
    if not place:
        return contnode if place == "" else None
    from docutils import nodes
    from sphinx.util.nodes import make_refnode

    if place.startswith("https:"):
        return nodes.reference("", "", contnode, internal=False, refuri=place)
    entry = known[place]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, place)
