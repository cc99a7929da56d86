"""What a terminal cannot show is printed in other words."""

import io
import sys

import pytest

from tensor_optix.support.terminal import speak_as_the_terminal_can


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
