"""Text from files, made harmless."""

import pytest

from tensor_optix.report.words import MOST_CHARACTERS, in_figure, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ε", "plain é ε"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("null\x00", "null\\u0000"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_is_cut() -> None:
    assert len(visible("x" * 10_000)) == MOST_CHARACTERS


def test_a_text_in_a_figure_is_no_markup() -> None:
    assert in_figure('<a href="x">b</a> & c') == '&lt;a href="x"&gt;b&lt;/a&gt; &amp; c'
