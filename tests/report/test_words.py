"""Text from files, made harmless."""

from tensor_optix._visible import visible as shown_everywhere
from tensor_optix.report.words import in_figure, visible


def test_a_page_shows_text_as_everything_else_does() -> None:
    assert visible is shown_everywhere


def test_a_text_in_a_figure_is_no_markup() -> None:
    assert in_figure('<a href="x">b</a> & c') == '&lt;a href="x"&gt;b&lt;/a&gt; &amp; c'
