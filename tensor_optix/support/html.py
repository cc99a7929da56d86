"""A table of texts as HTML, for notebooks: nothing in a text becomes markup."""

import html
from collections.abc import Iterable

from tensor_optix._visible import in_line


def table(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a heading and rows of (label, text) as HTML.

    Args:
        heading: above the table.
        rows: what it shows.
    """
    lines = "".join(
        f'<tr><th style="text-align:left">{shown(label)}</th><td style="text-align:left">{shown(text)}</td></tr>'
        for label, text in rows
    )
    return f"<div><strong>{shown(heading)}</strong><table>{lines}</table></div>"


def shown(text: str) -> str:
    """Return a text for HTML, in one line, with its control characters and marks of writing direction written out."""
    return html.escape(in_line(text))
