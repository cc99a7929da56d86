import logging
import sys

from tensor_optix.support.log_records import rewrite


def record_of(message: str, *arguments: object, fails: bool = False) -> logging.LogRecord:
    try:
        if fails:
            raise ValueError("a secret")
    except ValueError:
        return logging.LogRecord("name", logging.ERROR, "file.py", 1, message, arguments, sys.exc_info())
    return logging.LogRecord("name", logging.ERROR, "file.py", 1, message, arguments, None)


def hidden(text: str) -> str:
    return text.replace("secret", "***")


def test_what_its_arguments_and_its_traceback_say_is_changed() -> None:
    record = record_of("read %s", "a secret", fails=True)
    rewrite(record, hidden)
    written = logging.Formatter().format(record)
    assert written.startswith("read a ***\n")
    assert written.endswith("ValueError: a ***")


def test_one_that_says_nothing_of_the_kind_keeps_its_arguments() -> None:
    record = record_of("read %s", "a file")
    rewrite(record, hidden)
    assert (record.msg, record.args, record.exc_text) == ("read %s", ("a file",), None)
