"""What a terminal cannot show is printed in other words."""

import io
import logging
import sys

import pytest

from tensor_optix.support.terminal import for_a_terminal, say, speak_as_the_terminal_can


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"--- a -> b ?"), ("utf-8", "━━━ a → b ∮".encode())])
def test_box_drawing_falls_back_to_ascii(monkeypatch: pytest.MonkeyPatch, encoding: str, shown: bytes) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    speak_as_the_terminal_can()
    print("━━━ a → b ∮", end="", flush=True)
    assert raw.getvalue() == shown


def test_a_stream_without_encoding_and_one_that_is_closed_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    speak_as_the_terminal_can()
    print("━")
    assert sys.stdout.getvalue() == "━\n"  # type: ignore[attr-defined]


def test_what_is_said_may_have_lines_of_its_own_but_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    say("first\n\x1b[2Jsecond")
    say("third", file=sys.stderr)
    assert capsys.readouterr() == ("first\n\\u001b[2Jsecond\n", "third\n")
    say("x" * 900_000)
    assert len(capsys.readouterr().out) < 3_000


def logged(message: str, *arguments: object, error: BaseException | None = None) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(for_a_terminal)
    record = logging.LogRecord("named", logging.WARNING, "", 1, message, arguments, None)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    handler.handle(record)
    return out.getvalue()


def test_a_text_in_a_log_record_passes_for_no_record_of_its_own() -> None:
    shown = logged("A file %s is damaged", "a\nERROR root: forged \x1b[31m")
    assert shown == "WARNING named: A file a\n  ERROR root: forged \\u001b[31m is damaged\n"
    assert logged("Window %d has %s", 3, "no score") == "WARNING named: Window 3 has no score\n"
    assert len(logged("%s", "x" * 900_000)) < 3_000


def test_the_traceback_of_a_log_record_is_written_out_too() -> None:
    shown = logged("It failed.", error=ValueError("bad\nERROR root: forged \x07"))
    assert shown.splitlines() == ["WARNING named: It failed.", "ValueError: bad", "  ERROR root: forged \\u0007"]
