"""Text that comes from a run's files, made harmless for a page and for a figure."""

import unicodedata

MOST_CHARACTERS = 2000
"""Of a text that is shown."""


def visible(text: object) -> str:
    """Return a text with its control characters written out, cut after `MOST_CHARACTERS`.

    Terminal escapes, line noise and marks that turn the direction of writing would show something else than what is
    there.
    """
    shown = str(text)[:MOST_CHARACTERS]
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in shown)


def in_figure(text: object) -> str:
    """Return a text for a figure, whose labels are read as a kind of HTML."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
