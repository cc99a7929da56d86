"""Text that comes from files, feeds and environments, made harmless: the one way from there to whoever reads it.

Terminal escapes, line noise and marks that turn the direction of writing would show something else than what is there,
and a line end would let a name pass for a line of the log.
"""

import unicodedata

MOST_CHARACTERS = 2000
"""Of a text that is shown; the middle of a longer one is left out, since its end may say what to do."""
_TAIL = MOST_CHARACTERS // 4
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def visible(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return a text with its control characters written out, but for line ends and tabs, and of bounded length.

    Args:
        text: what is shown.
        most: characters of it that are kept, about.
    """
    return _written_out(str(text), most, "\n\t")


def in_line(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return a text as `visible` does, in one line.

    Args:
        text: what is shown.
        most: characters of it that are kept, about.
    """
    return _written_out(str(text), most, "")


def _written_out(text: str, most: int, kept: str) -> str:
    if len(text) > most:
        tail = min(_TAIL, most // 4)
        text = f"{text[: most - tail]} ... ({len(text) - most:,} characters) ... {text[len(text) - tail :]}"
    if text.isprintable():
        return text
    return "".join(c if c in kept or not _is_control(c) else _NAMED.get(c) or f"\\u{ord(c):04x}" for c in text)


def _is_control(character: str) -> bool:
    # Cc, Cf, Cs, Co and Cn, and the separators of lines and paragraphs.
    return unicodedata.category(character)[0] == "C" or character in "\u2028\u2029"
