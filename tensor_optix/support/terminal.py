"""Printing: what a terminal must not be told, and what it, or whatever stands in its place, cannot show."""

import codecs
import logging
import sys
from typing import TextIO

from tensor_optix._visible import in_line, visible
from tensor_optix.support.log_records import rewrite

_MOST_IN_LOG = 100_000
"""Characters of one message: the stacks of all threads may be among them."""

_PLAIN = {"━": "-", "─": "-", "│": "|", "−": "-", "→": "->", "×": "x", "±": "+-", "…": "...", "·": "."}
_HANDLER = "tensor_optix.plain"


def say(text: object, *, file: TextIO | None = None, flush: bool = False) -> None:
    """Print a text of one line or several, which may quote what was read from files.

    Args:
        text: what is said.
        file: where; None: on standard output.
        flush: True to have it there at once.
    """
    print("\n".join(map(in_line, str(text).split("\n"))), file=file, flush=flush)


def for_a_terminal(record: logging.LogRecord) -> bool:
    """Write out the control characters of a log record, and indent what goes on in further lines.

    A filter for `logging.Handler.addFilter`. No text that a message quotes passes for a record of its own.
    """
    rewrite(record, _indented)
    return True


def _indented(text: str) -> str:
    return "\n  ".join(map(in_line, visible(text, _MOST_IN_LOG).split("\n")))


def speak_as_the_terminal_can() -> None:
    """Let standard output and standard error print what they cannot encode in other words, instead of failing."""
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stream that was put in its place may have none
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end
