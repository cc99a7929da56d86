"""Records of the log, whose text is changed before a handler writes it."""

import logging
from collections.abc import Callable


def rewrite(record: logging.LogRecord, change: Callable[[str], str]) -> None:
    """Change what a record says, in its traceback, too.

    Args:
        record: what a filter of `logging.Handler.addFilter` is given.
        change: returns a text as it is to be written.
    """
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    if record.exc_text:
        record.exc_text = change(record.exc_text)
    message = record.getMessage()
    if (changed := change(message)) != message:
        record.msg, record.args = changed, ()
