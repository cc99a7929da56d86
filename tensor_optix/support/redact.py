"""Keeps credentials in URLs out of what is printed: errors of feeds and environments like to quote their address."""

import logging
import re

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,31}://)[^\s/?#@]{1,4096}@")


def redacted(text: str) -> str:
    """Return `text` with the user and password of every URL left out."""
    return _CREDENTIALS.sub(r"\g<scheme>***@", text)


def without_credentials(record: logging.LogRecord) -> bool:
    """Leave them out of a log record, of its traceback, too; a filter for `logging.Handler.addFilter`."""
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    if record.exc_text:
        record.exc_text = redacted(record.exc_text)
    message = record.getMessage()
    if (cleaned := redacted(message)) != message:
        record.msg, record.args = cleaned, ()
    return True
