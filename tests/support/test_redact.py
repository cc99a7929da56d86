"""Credentials in URLs are in nothing that is printed."""

import io
import logging

import pytest

from tensor_optix.support.redact import redacted, without_credentials


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:pw@host/x", "https://***@host/x"),
        ("redis://:pw@host:6379", "redis://***@host:6379"),
        ("token@host is no URL, https://host/@me neither", "token@host is no URL, https://host/@me neither"),
        ("a://b@c and d+e://f:g@h", "a://***@c and d+e://***@h"),
        ("", ""),
    ],
)
def test_the_user_and_password_of_a_url_are_left_out(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_a_log_record_has_none_in_its_message_its_arguments_or_its_traceback() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(without_credentials)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError("no answer from https://user:pw@host/x")
    except ValueError:
        logger.exception("lost %s", "https://user:pw@host/y")
    logger.warning("100 %s of it", "%")
    printed = stream.getvalue()
    assert "pw" not in printed
    assert "lost https://***@host/y" in printed
    assert "no answer from https://***@host/x" in printed
    assert printed.endswith("100 % of it\n")
