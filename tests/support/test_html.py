"""Tables for notebooks."""

from tensor_optix.support.html import shown, table


def test_a_table_has_a_heading_and_a_row_for_each_text() -> None:
    found = table("Training", [("score", "1.5"), ("", "more")])
    assert found.startswith("<div><strong>Training</strong><table><tr><th")
    assert found.count("<tr>") == 2
    assert ">score</th>" in found
    assert ">1.5</td>" in found


def test_nothing_in_a_text_becomes_markup() -> None:
    nasty = "</td><script>alert(1)</script>&\"'\x1b[31m\u202e"
    assert shown(nasty) == ("&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;\\u001b[31m\\u202e")
    assert "<script" not in table(nasty, [(nasty, nasty)])
