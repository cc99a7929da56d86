"""Text from files, made harmless for a terminal, a log, an error and a page."""

import ast
from pathlib import Path

import pytest

import tensor_optix
from tensor_optix._visible import MOST_CHARACTERS, in_line, visible

PRINTING = ("cli", "report", "multirun", "callbacks")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ε 行", "plain é ε 行"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b", "a\\u2028b"),
        ("null\x00", "null\\u0000"),
        ("half\ud800", "half\\ud800"),
        ("a\rb", "a\\rb"),
        ("a\u00a0b", "a\u00a0b"),
        ("two\n\tlines", "two\n\tlines"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_has_no_line_ends() -> None:
    assert in_line("two\nlines\tand more") == "two\\nlines\\tand more"


def test_anything_is_shown_as_its_text() -> None:
    assert visible(Path("a")) == in_line(Path("a")) == "a"


@pytest.mark.parametrize("length", [MOST_CHARACTERS + 1, 900_000])
def test_the_middle_of_a_long_text_is_left_out(length: int) -> None:
    text = "Begin" + "x" * (length - 8) + "End"
    shown = visible(text)
    assert shown.startswith("Beginx")
    assert shown.endswith("xEnd")
    assert f"({length - MOST_CHARACTERS:,} characters)" in shown
    assert len(shown) < MOST_CHARACTERS + 50


def test_a_text_of_the_usual_length_is_as_it_is() -> None:
    assert visible("x" * MOST_CHARACTERS) == "x" * MOST_CHARACTERS
    assert visible("a" * 40 + "b" * 40, most=40) == f"{'a' * 30} ... (40 characters) ... {'b' * 10}"


def prints(path: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func) == "print"]


def test_the_command_line_prints_through_one_function() -> None:
    """JSON is ASCII, and completion is the parser's; all else may quote what was read."""
    folder = Path(tensor_optix.__file__).parent
    for path in sorted(p for part in PRINTING for p in (folder / part).rglob("*.py")):
        for call in prints(path):
            printed = ast.unparse(call.args[0])
            assert printed.startswith(("json.dumps(", "shtab.")), f"{path}: {printed}"


def test_a_script_that_prints_by_itself_is_found(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("print(name)\n")
    assert [ast.unparse(call.args[0]) for call in prints(tmp_path / "bad.py")] == ["name"]
