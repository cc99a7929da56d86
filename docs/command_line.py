"""Writes the tables of docs/command-line.md: `python docs/command_line.py`.

They are made from the parser itself and from the list of settings, so that they cannot differ from what the commands
take. `tests/test_docs.py` makes them again and compares.
"""

import argparse
import re
from pathlib import Path

from tensor_optix.cli.config import SETTINGS
from tensor_optix.cli.flags import default_of
from tensor_optix.cli.parser import COMMANDS

SHOWN_IN = Path(__file__).parent / "command-line.md"
_DEFAULT = re.compile(r" \(default: (?P<value>.*)\)$")


def tables() -> dict[str, str]:
    """Return the table of each command by its name, and that of the settings as `settings`."""
    found = {"settings": settings_table()}
    for name, (add_arguments, _) in COMMANDS.items():
        command = argparse.ArgumentParser(add_help=False)
        add_arguments(command)
        found[name] = _table(
            ("argument", "default", "meaning"),
            [
                _row(action)
                for action in command._actions
                if name not in ("train", "tune") or action.dest not in SETTINGS
            ],
        )
    return found


def settings_table() -> str:
    """Return the settings of a run: as flags, as names of a file, with defaults and meanings."""
    rows = []
    for one in SETTINGS.values():
        flag = f"`{one.about.metavar}`" if one.about.is_positional else _flags(one.flags, one.about.metavar)
        if one.kind is bool:
            flag += f", `--no-{one.flags[0].removeprefix('--')}`"
        choices = f": {', '.join(f'`{choice}`' for choice in one.about.choices)}" if one.about.choices else ""
        rows.append((flag, f"`{one.name}`", default_of(one) or "-", f"{one.about.help}{choices}"))
    return _table(("flag", "in a file", "default", "meaning"), rows)


def write(text: str) -> str:
    """Return a document with each of its tables as it is now."""
    for name, table in tables().items():
        marks = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        text = re.sub(
            f"{marks[0]}.*?{marks[1]}", lambda _, made=table, m=marks: f"{m[0]}{made}{m[1]}", text, flags=re.S
        )
    return text


def _row(action: argparse.Action) -> tuple[str, str, str]:
    text = (action.help or "").replace("%%", "%")
    default = _DEFAULT.search(text)
    meaning = _DEFAULT.sub("", text)
    name = _flags(action.option_strings, action.metavar if action.nargs != 0 else None)
    return (
        name or f"`{action.metavar or action.dest}`",
        default["value"] if default else "-",
        meaning or "a run's folder",
    )


def _flags(flags: tuple[str, ...] | list[str], metavar: object) -> str:
    return ", ".join(f"`{flag} {metavar}`" if metavar else f"`{flag}`" for flag in flags)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    SHOWN_IN.write_text(write(SHOWN_IN.read_text(encoding="utf-8")), encoding="utf-8")
