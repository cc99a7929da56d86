"""Keeps credentials in URLs out of what is printed: errors of feeds and environments like to quote their address."""

import logging
import re

from tensor_optix.support.log_records import rewrite

_CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,31}://)[^\s/?#@]{1,4096}@")


def redacted(text: str) -> str:
    """Return `text` with the user and password of every URL left out."""
    return _CREDENTIALS.sub(r"\g<scheme>***@", text)


def without_credentials(record: logging.LogRecord) -> bool:
    """Leave them out of a log record, of its traceback, too; a filter for `logging.Handler.addFilter`."""
    rewrite(record, redacted)
    return True
