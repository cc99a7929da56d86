"""Printing where the terminal, or whatever stands in its place, cannot show every character."""

import codecs
import sys

_PLAIN = {"━": "-", "─": "-", "│": "|", "−": "-", "→": "->", "×": "x", "±": "+-", "…": "...", "·": "."}
_HANDLER = "tensor_optix.plain"


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
