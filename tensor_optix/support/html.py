"""A table of texts as HTML, for notebooks: nothing in a text becomes markup."""

import html
import unicodedata
from collections.abc import Iterable


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
    """Return a text for HTML, with its control characters and marks of writing direction written out."""
    plain = "".join(c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in text)
    return html.escape(plain)
